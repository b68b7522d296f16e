import { useSignal } from '@preact/signals';
import { Problem, post, why } from '../api';
import { Fault, Text } from '../parts';
import { enter, refused, setup } from '../store';

export function Login() {
  const name = useSignal('');
  const password = useSignal('');
  const error = useSignal(refused.value);
  const busy = useSignal(false);
  const submit = async (e: Event) => {
    e.preventDefault();
    if (busy.value) return;
    busy.value = true;
    error.value = refused.value = '';
    try {
      await post('sessions', { name: name.value.trim(), password: password.value });
      await enter();
    } catch (err) {
      // Which of both is wrong is nobody's business.
      error.value = err instanceof Problem && err.status === 401 ? 'Name and password do not belong together.' : why(err);
      password.value = '';
    } finally {
      busy.value = false;
    }
  };
  return (
    <main id="main" class="alone">
      <form class="card form" onSubmit={submit} aria-labelledby="login-title">
        <h1 id="login-title"><img src="/assets/icon.svg" alt="" width="32" height="32" /> Slipstream</h1>
        <Text label="Name" value={name.value} set={(v) => (name.value = v)} autocomplete="username" required testid="login-name" />
        <Text label="Password" type="password" value={password.value} set={(v) => (password.value = v)} autocomplete="current-password" required testid="login-password" />
        <Fault text={error.value} />
        <button type="submit" class="main" aria-disabled={busy.value} data-testid="login">Log in</button>
        {setup.value?.oidc && <a class="aside" data-testid="login-oidc" href={'/api/v1/oidc/login?next=' + encodeURIComponent(location.pathname + location.search)}>Log in with your organisation</a>}
      </form>
    </main>
  );
}
