import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { call, get, post } from '../api';
import { Icon, State } from '../icons';
import { Ago, Button, Dialog, Fault, Field, Nothing, Page, Text, Wait } from '../parts';
import { may, now, say, toast, useLoaded } from '../store';
import { Tile } from '../tile';
import type { Action, Asked, Device as Row, DeviceDetail, History, Record as Course, Releases, Trial } from '../view';
import { bare, bytes, clock, date, duration, reason, sentence } from '../words';
import { Slots } from './slots';
import { TrialBox } from './trial';

// receivedAt is when the newest detail came: a trial's time is the device's own, and only
// what has passed since is measured here.
interface Held extends DeviceDetail {
  receivedAt: number;
}

export function Device({ id }: { id: string }) {
  const path = `devices/${encodeURIComponent(id)}`;
  const { value, error, reload } = useLoaded<DeviceDetail>(path, 'device:' + id, (old, e) =>
    e.kind === 'device' && 'data' in e && e.data && (e.data as DeviceDetail).actions ? (e.data as DeviceDetail) : (void old, null),
  );
  const held = useRef<Held | null>(null);
  const d = value.value;
  if (d && (!held.current || held.current !== d)) {
    if (!('receivedAt' in d)) Object.assign(d, { receivedAt: performance.now() });
    held.current = d as Held;
  }
  const state = d?.state;
  useEffect(() => {
    if (state && d) say(`${d.name || d.id}: ${state}`);
  }, [state]);
  if (!d) return <Page title={id}>{error.value ? <Fault text={error.value} retry={reload} /> : <Wait />}</Page>;
  const trial = d.status?.trial;
  return (
    <Page title={d.name || d.id} about={<About d={d} />} actions={may('operator') && <Edit d={d} onDone={reload} />}>
      <Fault text={error.value} retry={reload} />
      {!d.online && (
        <p class="stale" role="status"><Icon name="offline" /> It is away. What you see is what it said last, <Ago time={d.lastSeen} />.</p>
      )}
      {d.status?.problems?.map((p) => <p key={p} class="fault"><Icon name="problem" /><span>{sentence(p)}</span></p>)}
      <div class="device">
        <section class="picture" aria-label="Live picture"><Tile device={d} wanted={['main']} caption={false} /></section>
        <div class="side">
          {trial && <TrialBox trial={trial} status={d.status!} ageMs={d.statusAgeMs} receivedAt={held.current!.receivedAt} online={d.online} />}
          <Actions d={d} path={path} reload={reload} />
        </div>
        <Slots d={d} />
        <Timeline id={id} seq={d.status?.last?.time ?? ''} trial={trial} />
        <Facts d={d} />
      </div>
    </Page>
  );
}

function About({ d }: { d: Row }) {
  return (
    <>
      <State state={d.state} word={d.state === 'offline' ? 'away' : undefined} />
      <span>{[d.id, d.site, d.product, d.hardware].filter(Boolean).join(' · ')}</span>
      {d.tags.map((t) => <a key={t} class="tag" href={`/devices?q=${encodeURIComponent('tag:' + t)}`}>{t}</a>)}
      {d.rollout && <a href={`/rollouts/${d.rollout}`}>in rollout {d.rollout}</a>}
    </>
  );
}

const names: { [name: string]: [string, 'main' | 'bad' | 'plain'] } = {
  stage: ['Stage …', 'plain'], activate: ['Activate', 'main'], confirm: ['Confirm', 'main'], revert: ['Revert', 'bad'], cancel: ['Cancel', 'plain'],
};

function Actions({ d, path, reload }: { d: DeviceDetail; path: string; reload: () => void }) {
  const staging = useSignal(false);
  const asking = useSignal('');
  if (!may('operator') || !d.actions.length) return d.asked ? <section class="card"><AskedLine asked={d.asked} /></section> : null;
  const ask = async (name: string) => {
    await post<Asked>(`${path}/${name}`, {});
    reload();
  };
  const press = (a: Action) => {
    if (a.name === 'stage') staging.value = true;
    else if (a.name === 'revert') asking.value = a.name;
    else return ask(a.name);
    return undefined;
  };
  return (
    <section class="card actions" aria-labelledby="actions-title">
      <h2 id="actions-title">Actions</h2>
      <div class="buttons tall">
        {d.actions.map((a) => (
          <Button key={a.name} kind={names[a.name]![1]} denied={a.denied} testid={a.name} onClick={() => press(a)}>{names[a.name]![0]}</Button>
        ))}
      </div>
      {d.asked && <AskedLine asked={d.asked} />}
      {staging.value && <Stage path={path} onClose={() => ((staging.value = false), reload())} />}
      {asking.value && (
        <Dialog title={`Revert ${d.name || d.id}?`} onClose={() => (asking.value = '')}>
          <div class="form">
            <p>It goes back from {d.running} to {d.previous || 'the version before'}. Viewers keep their picture.</p>
            <div class="buttons">
              <Button kind="bad" testid="revert-yes" onClick={async () => ((await ask('revert')), (asking.value = ''))}>Revert</Button>
              <Button onClick={() => (asking.value = '')}>Leave it</Button>
            </div>
          </div>
        </Dialog>
      )}
    </section>
  );
}

// A button says that it was asked, and then what the device said; never what is hoped for.
function AskedLine({ asked: a }: { asked: Asked }) {
  const good = a.done && a.exit === 0;
  return (
    <p class="asked" data-testid="asked" data-done={a.done}>
      <State state={!a.done ? 'trial' : good ? 'done' : 'failed'} word={!a.done ? 'asked' : good ? 'done' : 'refused'} />
      <span>{a.kind} {a.version} by {a.by}, <Ago time={a.at} />{a.message && '. ' + sentence(a.message)}</span>
    </p>
  );
}

function Stage({ path, onClose }: { path: string; onClose: () => void }) {
  const { value, error } = useLoaded<Releases>('releases', 'releases');
  const pick = useSignal('');
  const force = useSignal(false);
  const list = value.value?.releases.filter((r) => !r.withdrawn) ?? [];
  const go = async () => {
    await post(`${path}/stage`, { release: pick.value, ...(force.value ? { force: true } : {}) });
    toast('plain', 'Asked. The device writes it into its spare slot; nothing is started.');
    onClose();
  };
  return (
    <Dialog title="Stage a release" onClose={onClose}>
      <div class="form">
        <Fault text={error.value} />
        <Field label="Release">
          <select value={pick.value} data-testid="stage-release" onChange={(e) => (pick.value = e.currentTarget.value)}>
            <option value="">Choose …</option>
            {list.map((r) => <option key={r.id} value={r.id}>{bare(r)} {r.version} · {bytes(r.size)}</option>)}
          </select>
        </Field>
        <label class="check"><input type="checkbox" checked={force.value} onChange={(e) => (force.value = e.currentTarget.checked)} /> also if this device has reverted it before</label>
        <div class="buttons"><Button kind="main" testid="stage-yes" denied={pick.value ? '' : 'Choose a release first.'} onClick={go}>Stage</Button></div>
      </div>
    </Dialog>
  );
}

const outcomes: { [k: string]: string } = { permanent: 'permanent', reverted: 'reverted', refused: 'refused' };

function Timeline({ id, seq, trial }: { id: string; seq: string; trial?: Trial }) {
  const { value, error, reload } = useLoaded<History>(`devices/${encodeURIComponent(id)}/history`);
  useEffect(() => {
    if (value.peek()) reload();
  }, [seq]);
  const records = value.value?.records ?? [];
  return (
    <section class="card timeline" aria-labelledby="timeline-title">
      <h2 id="timeline-title">Timeline</h2>
      <Fault text={error.value} retry={reload} />
      {value.value && !records.length && !trial && <Nothing>No update yet.</Nothing>}
      <ol>
        {trial && <li><State state="trial" word="on trial" /><div><p><b>{trial.from || '–'} → {trial.version}</b></p><p class="soft"><time title={date(trial.started)}>{date(trial.started)}</time>{trial.tookOver && ` · viewers saw it after ${duration(new Date(trial.tookOver).getTime() - new Date(trial.started).getTime())}`} · began <Ago time={trial.started} /></p></div></li>}
        {records.map((r) => <Entry key={r.time + (r.trial ?? '')} r={r} />)}
      </ol>
    </section>
  );
}

function Entry({ r }: { r: Course }) {
  const began = r.began ? new Date(r.began).getTime() : 0;
  const took = began > 0 ? new Date(r.time).getTime() - began : 0;
  const seen = r.began && r.tookOver ? new Date(r.tookOver).getTime() - began : 0;
  const gap = Math.max(0, ...[...(r.proof?.switch ?? []), ...(r.proof?.revert ?? [])].map((s) => s.gapMs));
  return (
    <li>
      <State state={r.outcome} word={outcomes[r.outcome] ?? r.outcome} />
      <div>
        <p><b>{r.from || '–'} → {r.to}</b>{r.class && ` · ${r.class}`}{r.reason && `, for ${reason(r.reason)}`}</p>
        {r.detail && <p class="soft">{sentence(r.detail)}</p>}
        <p class="soft">
          <time title={date(r.time)}>{date(r.time)}</time>
          {seen > 0 && ` · viewers saw it after ${duration(seen)}`}
          {took > 0 && ` · trial of ${duration(took)}`}
          {gap > 0 && ` · viewers' longest gap ${duration(gap)}`}
          {!!r.darkMs && ` · ${duration(r.darkMs)} dark over ${r.reboots} reboots`}
        </p>
        {r.evidence && r.evidence.length > 0 && <details><summary>Evidence</summary><pre>{r.evidence.join('\n')}</pre></details>}
      </div>
    </li>
  );
}

function Facts({ d }: { d: DeviceDetail }) {
  const s = d.status;
  const facts: [string, string][] = [
    ['Agent', s?.agent ?? d.runtime ?? ''],
    ['Device time', s ? `${date(s.time)}${d.zone ? ` (${d.zone})` : ''}` : ''],
    ['Last word', s ? clock(new Date(now.value - d.statusAgeMs).toISOString()) : ''],
    ['Enrolled', date(d.enrolledAt)],
    ['Certificate', d.certificate ? `${d.certificate.serial}, until ${date(d.certificate.until)}${d.certificate.revoked ? ', revoked' : ''}` : ''],
    ['Note', d.note ?? ''],
  ];
  return (
    <section class="card facts" aria-labelledby="facts-title">
      <h2 id="facts-title">About</h2>
      <dl>{facts.filter(([, v]) => v).map(([k, v]) => <div key={k}><dt>{k}</dt><dd>{v}</dd></div>)}</dl>
      {s?.protections && s.protections.length > 0 && (
        <ul class="protections" aria-label="Protections of the app">
          {s.protections.map((p) => <li key={p.name}><State state={p.on ? 'ready' : 'problem'} word={p.name + (p.on ? '' : ': off')} /> <span class="soft">{p.why}</span></li>)}
        </ul>
      )}
    </section>
  );
}

function Edit({ d, onDone }: { d: DeviceDetail; onDone: () => void }) {
  const open = useSignal(false);
  const name = useSignal('');
  const site = useSignal('');
  const tags = useSignal('');
  const note = useSignal('');
  const begin = () => {
    name.value = d.name ?? '';
    site.value = d.site ?? '';
    tags.value = d.tags.join(', ');
    note.value = d.note ?? '';
    open.value = true;
  };
  const save = async () => {
    const path = `devices/${encodeURIComponent(d.id)}`;
    const { rev } = await get<DeviceDetail>(path);
    await call('PATCH', path, { name: name.value.trim(), site: site.value.trim(), tags: tags.value.split(',').map((t) => t.trim()).filter(Boolean), note: note.value }, { rev });
    open.value = false;
    toast('good', 'Saved.');
    onDone();
  };
  return (
    <>
      <Button onClick={begin}>Edit</Button>
      {open.value && (
        <Dialog title={`Edit ${d.id}`} onClose={() => (open.value = false)}>
          <div class="form">
            <Text label="Name" value={name.value} set={(v) => (name.value = v)} maxLength={80} />
            <Text label="Site" value={site.value} set={(v) => (site.value = v)} maxLength={80} />
            <Text label="Tags" hint="separated by commas; key=value can keep neighbours apart in rollouts" value={tags.value} set={(v) => (tags.value = v)} />
            <Field label="Note"><textarea rows={3} maxLength={2000} value={note.value} onInput={(e) => (note.value = e.currentTarget.value)} /></Field>
            <div class="buttons"><Button kind="main" onClick={save}>Save</Button></div>
          </div>
        </Dialog>
      )}
    </>
  );
}
