import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import { get, post } from '../api';
import { State } from '../icons';
import { Button, Page, Secret, Text } from '../parts';
import { go, query } from '../router';
import { enter, hub, phase, say, setup } from '../store';
import type { Enrolment, Setup as Needs } from '../view';
import { Enrol } from './access';

// Setup walks from nothing to one enrolled device; each step shows by itself that it is done.
export function Setup() {
  const s = setup.value;
  const inside = phase.value === 'in';
  const line = useSignal(''); // the step that made it is done, and gone, when it is typed
  const linked = hub.value?.devices;
  const look = async () => {
    const before = setup.value;
    setup.value = await get<Needs>('setup');
    if (setup.value.device && !before?.device) say('The first device is here.');
  };
  const made = async (e: Enrolment) => {
    line.value = e.command || e.text || '';
    await look();
  };
  useEffect(() => {
    if (!inside || s?.device) return;
    const timer = setInterval(() => void look().catch(() => {}), 2000);
    void look().catch(() => {});
    return () => clearInterval(timer);
  }, [inside, linked, s?.device]);
  if (!s) return null;
  const steps: [keyof Needs, string, ComponentChildren][] = [
    ['admin', 'Make the first account', <First />],
    ['trust', "Tell the panel the vendor's root", <p>Start it with <code>--trust</code> and the root or the keys that your devices have too. Without it packages are listed as not verified, and devices alone judge them. This can wait.</p>],
    ['enrolment', 'Make a token for the first device', <Enrol onMade={made} quiet />],
    ['device', 'Let the device call', (
      <>
        {line.value ? <Secret label="Type this on the device; it is shown once:" text={line.value} /> : <p class="soft">The line was shown when its token was made; make another token if it is lost.</p>}
        <p class="soft">The device appears here by itself, within a second.</p>
      </>
    )],
    ['release', 'Add a release', <p><a href="/releases">To the releases</a>, when you have a package. This can wait.</p>],
  ];
  const now = steps.findIndex(([key]) => !s[key] && key !== 'trust');
  return (
    <Page title="Welcome" about={s.device ? <>Your first device is here. <a href="/devices">To the fleet</a></> : 'From nothing to one camera that cannot be interrupted.'}>
      <ol class="steps" data-testid="setup">
        {steps.map(([key, name, body], i) => (
          <li key={key} data-done={s[key]} aria-current={i === now ? 'step' : undefined} data-testid={`step-${key}`}>
            <h2><State state={s[key] ? 'done' : i === now ? 'running' : 'empty'} word={s[key] ? 'done' : i === now ? 'now' : 'later'} /> {name}</h2>
            {!s[key] && (i === now || (key === 'device' && s.enrolment) || (key === 'trust' && inside)) && <div class="body">{body}</div>}
            {key === 'enrolment' && s.enrolment && !s.device && inside && <details><summary>Make another token</summary><Enrol onMade={made} quiet /></details>}
          </li>
        ))}
      </ol>
    </Page>
  );
}

function First() {
  const token = useSignal(query.value.get('token') ?? '');
  const name = useSignal('');
  const password = useSignal('');
  const ready = token.value && name.value && password.value.length >= 12;
  const make = async () => {
    await post('setup', { token: token.value.trim(), name: name.value.trim(), password: password.value });
    await post('sessions', { name: name.value.trim(), password: password.value });
    go('/setup', true); // the walk goes on, whatever page somebody came to first
    await enter();
  };
  return (
    <div class="form">
      <Text label="Setup token" hint="the panel has printed it when it started" value={token.value} set={(v) => (token.value = v)} autocomplete="off" testid="setup-token" />
      <Text label="Your name" value={name.value} set={(v) => (name.value = v)} autocomplete="username" testid="setup-name" />
      <Text label="Password" hint="at least 12 characters" type="password" value={password.value} set={(v) => (password.value = v)} autocomplete="new-password" testid="setup-password" />
      <div class="buttons"><Button kind="main" testid="setup-make" denied={ready ? '' : 'It needs the token, a name and a password of 12 characters.'} onClick={make}>Make the account</Button></div>
    </div>
  );
}
