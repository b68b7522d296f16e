import { State } from '../icons';
import { useLoaded } from '../store';
import type { DeviceDetail, Release, Releases, Slot, Stored, System } from '../view';
import { bytes, date } from '../words';

// Slots shows what is where: which version viewers see, which one waits, which one a
// revert would bring back.
export function Slots({ d }: { d: DeviceDetail }) {
  const s = d.status;
  const known = useLoaded<Releases>('releases', 'releases').value.value?.releases ?? [];
  if (!s) return null;
  return (
    <section class="slots" aria-label="Slots">
      {s.slots.map((slot) => <Live key={slot.name} slot={slot} release={known.find((r) => r.digest === slot.digest)} part={part(slot, s.slots)} seen={slot.version !== undefined && slot.version === s.streams[0]?.version} staging={s.staging} />)}
      <Others title="System" list={s.systems} />
      <Others title="Slipstream's own programs" list={s.runtimes} />
    </section>
  );
}

// part is what a slot is to the other one.
function part(slot: Slot, all: Slot[]): string {
  if (slot.state === 'staged') return 'next';
  if (slot.state === 'previous') return 'a revert brings it back';
  if (slot.state === 'permanent' && all.some((o) => o.state === 'trial')) return 'comes back without a greenlight';
  return '';
}

function Live({ slot, release, part, seen, staging }: { slot: Slot; release?: Release; part: string; seen: boolean; staging?: { version: string; done: number; total: number } }) {
  const writing = slot.stored?.state === 'writing' ? staging : undefined;
  return (
    <article class="card slot" data-state={slot.state} data-testid={`slot-${slot.name}`}>
      <header>
        <h2>Slot {slot.name.toUpperCase()}</h2>
        {seen && <State state="running" word="viewers see it" />}
        {!seen && part && <span class="soft">{part}</span>}
      </header>
      <p class="version">{slot.version || <span class="soft">empty</span>}</p>
      <State state={writing ? 'staging' : slot.state || 'empty'} />
      {writing && <progress max={writing.total || 1} value={writing.done} aria-label={`Staging ${writing.version}`} />}
      <dl>
        {slot.app && <div><dt>App</dt><dd>{slot.app}{slot.restarts ? `, restarted ${slot.restarts} times` : ''}</dd></div>}
        {slot.status && <div><dt>It says</dt><dd>{slot.status}</dd></div>}
        {slot.lastExit && <div><dt>Last end</dt><dd>{slot.lastExit}</dd></div>}
        {slot.digest && <div><dt>Digest</dt><dd><code title={slot.digest}>{slot.digest.slice(0, 16)}…</code></dd></div>}
        {release && <div><dt>Signed by</dt><dd>{release.signers.map((k) => <code key={k} title={k}>{k.slice(0, 16)}…</code>)}{!release.verified && ' not verified'}</dd></div>}
        <Kept stored={slot.stored} />
      </dl>
    </article>
  );
}

function Kept({ stored: s }: { stored?: Stored }) {
  if (!s) return null;
  return (
    <>
      {s.stagedAt && <div><dt>Written</dt><dd>{date(s.stagedAt)}{s.by && ` from ${s.by}`}</dd></div>}
      {s.verifiedAt && <div><dt>Read in full</dt><dd>{date(s.verifiedAt)}</dd></div>}
      {!!s.size && <div><dt>Size</dt><dd>{bytes(s.size)} {s.kind}</dd></div>}
    </>
  );
}

function Others({ title, list }: { title: string; list?: System[] }) {
  if (!list?.length) return null;
  return (
    <article class="card others">
      <h2>{title}</h2>
      <table>
        <thead><tr><th scope="col">Slot</th><th scope="col">Version</th><th scope="col">State</th><th scope="col">Boot tries left</th></tr></thead>
        <tbody>
          {list.map((s) => (
            <tr key={s.name}>
              <th scope="row">{s.name.toUpperCase()}</th>
              <td>{s.version || '–'}{s.running && <span class="soft"> runs now</span>}</td>
              <td><State state={s.state || 'empty'} word={s.state || '–'} /></td>
              <td>{s.triesLeft ?? 'not counted'}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </article>
  );
}
