import { useSignal } from '@preact/signals';
import { call, post } from '../api';
import { State } from '../icons';
import { Ago, Button, Dialog, Fault, Field, Secret, Text, Wait } from '../parts';
import { may, me, setup, toast, useLoaded } from '../store';
import type { Account, Accounts as AccountList, Enrolment, Enrolments as EnrolmentList, Grant, Token, Tokens as TokenList } from '../view';
import { date } from '../words';

const roles: Grant['role'][] = ['viewer', 'operator', 'releaser', 'admin'];
const does: { [role: string]: string } = {
  viewer: 'looks', operator: 'stages, activates, confirms and reverts single devices, and pauses rollouts', releaser: 'adds releases and runs rollouts', admin: 'does everything',
};

function Grants({ list }: { list: Grant[] }) {
  return <>{list.map((g) => <span key={g.role + g.selector} class="tag">{g.role}{g.selector && <> of <code>{g.selector}</code></>}</span>)}</>;
}

function GrantFields({ grant, set }: { grant: Grant; set: (g: Grant) => void }) {
  return (
    <>
      <Field label="Role" hint={does[grant.role]}>
        <select value={grant.role} onChange={(e) => set({ ...grant, role: e.currentTarget.value as Grant['role'] })}>{roles.map((r) => <option key={r}>{r}</option>)}</select>
      </Field>
      <Text label="Over which devices" hint="empty: all" value={grant.selector ?? ''} set={(v) => set({ role: grant.role, ...(v ? { selector: v } : {}) })} />
    </>
  );
}

const inDays = (n: string) => new Date(Date.now() + Number(n) * 86_400_000).toISOString();

export function Accounts() {
  const { value, error, reload } = useLoaded<AccountList>('accounts', 'audit');
  const adding = useSignal(false);
  const name = useSignal('');
  const password = useSignal('');
  const grant = useSignal<Grant>({ role: 'viewer' });
  const add = async () => {
    await post<Account>('accounts', { name: name.value.trim(), password: password.value, grants: [grant.value] });
    adding.value = false;
    name.value = password.value = '';
    toast('good', 'The account is there.');
    reload();
  };
  const able = (a: Account) => call('PATCH', 'accounts/' + encodeURIComponent(a.name), { disabled: !a.disabled }, { rev: a.rev }).then(reload);
  if (!value.value) return error.value ? <Fault text={error.value} retry={reload} /> : <Wait />;
  return (
    <section class="card" aria-labelledby="accounts-title">
      <header class="row"><h2 id="accounts-title">Accounts</h2>{may('admin') && <Button kind="main" onClick={() => (adding.value = true)}>Add …</Button>}</header>
      <ul class="causes">
        {value.value.accounts.map((a) => (
          <li key={a.name}>
            <b>{a.name}</b> <Grants list={a.grants} /> {a.oidc && <span class="tag">from your organisation</span>} <State state={a.disabled ? 'failed' : 'ready'} word={a.disabled ? 'disabled' : 'enabled'} />
            <span class="soft">seen <Ago time={a.lastSeen} /></span>
            {may('admin') && <Button denied={a.name === me.value?.name ? 'This is you.' : ''} onClick={() => able(a)}>{a.disabled ? 'Enable' : 'Disable'}</Button>}
          </li>
        ))}
      </ul>
      <p class="soft">{setup.value?.oidc ? 'People of your organisation log in through it (OIDC), with the roles of their groups.' : 'Only the accounts here log in. With [oidc] in its configuration the panel takes those of your organisation too.'}</p>
      {adding.value && (
        <Dialog title="Add an account" onClose={() => (adding.value = false)}>
          <div class="form">
            <Text label="Name" value={name.value} set={(v) => (name.value = v)} autocomplete="off" />
            <Text label="Password" hint="at least 12 characters" type="password" autocomplete="new-password" value={password.value} set={(v) => (password.value = v)} />
            <GrantFields grant={grant.value} set={(g) => (grant.value = g)} />
            <div class="buttons"><Button kind="main" denied={name.value.trim() && password.value.length >= 12 ? '' : 'It needs a name and a password of 12 characters.'} onClick={add}>Add</Button></div>
          </div>
        </Dialog>
      )}
    </section>
  );
}

export function Tokens() {
  const { value, error, reload } = useLoaded<TokenList>('tokens', 'audit');
  const made = useSignal<Token | null>(null);
  const name = useSignal('');
  const days = useSignal('90');
  const grant = useSignal<Grant>({ role: 'viewer' });
  const add = async () => {
    made.value = await post<Token>('tokens', { name: name.value.trim(), grants: [grant.value], until: inDays(days.value) });
    name.value = '';
    reload();
  };
  const drop = (id: string) => call('DELETE', 'tokens/' + encodeURIComponent(id)).then(reload);
  if (!value.value) return error.value ? <Fault text={error.value} retry={reload} /> : <Wait />;
  return (
    <div class="columns">
      <section class="card" aria-labelledby="tokens-title">
        <h2 id="tokens-title">API tokens</h2>
        {!value.value.tokens.length && <p class="soft">None. Scripts and other programs come in with one.</p>}
        <ul class="causes">{value.value.tokens.map((t) => <li key={t.id}><b>{t.name}</b> <Grants list={t.grants} /> <span class="soft">by {t.by}, until {date(t.until)}, used <Ago time={t.lastUsed} /></span> <Button onClick={() => drop(t.id)}>Revoke</Button></li>)}</ul>
      </section>
      <section class="card form" aria-labelledby="token-title">
        <h2 id="token-title">Make a token</h2>
        <Text label="For what" value={name.value} set={(v) => (name.value = v)} maxLength={80} />
        <GrantFields grant={grant.value} set={(g) => (grant.value = g)} />
        <Text label="Valid for, days" inputMode="numeric" value={days.value} set={(v) => (days.value = v)} />
        <div class="buttons"><Button kind="main" denied={!may('admin') ? 'Your role may not make tokens.' : name.value.trim() ? '' : 'Say what it is for.'} onClick={add}>Make it</Button></div>
        {made.value?.text && <Secret label="This is shown once:" text={made.value.text} />}
      </section>
    </div>
  );
}

export function Enrolments() {
  const { value, error, reload } = useLoaded<EnrolmentList>('enrolments', 'audit');
  const drop = (id: string) => call('DELETE', 'enrolments/' + encodeURIComponent(id)).then(reload);
  if (!value.value) return error.value ? <Fault text={error.value} retry={reload} /> : <Wait />;
  return (
    <div class="columns">
      <section class="card" aria-labelledby="enrolments-title">
        <h2 id="enrolments-title">Open enrolments</h2>
        {!value.value.enrolments.length && <p class="soft">None. Devices join with a token that is made here.</p>}
        <ul class="causes">{value.value.enrolments.map((e) => <li key={e.id}><b>{e.device || 'any device'}</b> {e.site && <span class="tag">{e.site}</span>} <span class="soft">{e.uses} left, by {e.by}, until {date(e.until)}</span> {may('admin') && <Button onClick={() => drop(e.id)}>Revoke</Button>}</li>)}</ul>
      </section>
      <Enrol onMade={reload} />
    </div>
  );
}

// Enrol makes a token and shows its line, unless somebody else does.
export function Enrol({ onMade, quiet = false }: { onMade: (e: Enrolment) => void; quiet?: boolean }) {
  const device = useSignal('');
  const site = useSignal('');
  const uses = useSignal('1');
  const made = useSignal<Enrolment | null>(null);
  const make = async () => {
    made.value = await post<Enrolment>('enrolments', { ...(device.value.trim() ? { device: device.value.trim() } : {}), ...(site.value.trim() ? { site: site.value.trim() } : {}), uses: Number(uses.value), until: inDays('1') });
    onMade(made.value);
  };
  const m = made.value;
  return (
    <section class="card form" aria-labelledby="enrol-title">
      <h2 id="enrol-title">Let devices join</h2>
      <Text label="Device" hint="only this id; empty: any" value={device.value} set={(v) => (device.value = v)} testid="enrol-device" />
      <Text label="Site" value={site.value} set={(v) => (site.value = v)} />
      <Text label="How many devices" inputMode="numeric" value={uses.value} set={(v) => (uses.value = v)} />
      <div class="buttons"><Button kind="main" testid="enrol-make" denied={may('admin') ? '' : 'Your role may not enrol devices.'} onClick={make}>Make a token for a day</Button></div>
      {m && !quiet && <Secret label="Type this on the device; it is shown once:" text={m.command || m.text || ''} />}
    </section>
  );
}
