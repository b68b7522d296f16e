import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { post } from '../api';
import { Icon, State } from '../icons';
import { Ago, Button, Confirm, Fault, Nothing, Page, Stack, Wait } from '../parts';
import { query, set } from '../router';
import { now, say, toast, useLoaded } from '../store';
import type { Rollout, RolloutDevices, Step, WaveState } from '../view';
import { clock, count, date, devices, duration, percent, reason, sentence } from '../words';
import { parts } from './rollouts';

export function RolloutPage({ id }: { id: string }) {
  const { value, error, reload } = useLoaded<Rollout>('rollouts/' + encodeURIComponent(id), 'rollout:' + id, (old, e) => {
    const next = e.kind === 'rollout' && 'data' in e ? (e.data as Rollout | undefined) : undefined;
    return next && next.actions.length >= old.actions.length ? next : null;
  });
  const r = value.value;
  const state = r?.state;
  useEffect(() => {
    if (r) say(`Rollout ${r.state}, wave ${r.wave}: ${r.total.done} of ${r.total.devices} done, ${r.total.failed} failed`);
  }, [state, r?.wave]);
  if (!r) return <Page title={`Rollout ${id}`}>{error.value ? <Fault text={error.value} retry={reload} /> : <Wait />}</Page>;
  return (
    <Page title={r.plan.name || `Rollout ${r.id}`} about={<About r={r} />} actions={<Verbs r={r} reload={reload} />}>
      <Fault text={error.value} retry={reload} />
      <Why r={r} />
      <section class="card total" aria-label="All devices">
        <Stack label="All devices" parts={parts(r.total)} whole={r.total.devices} />
        <ul class="legend">{parts(r.total).filter((p) => p.n).map((p) => <li key={p.name}><i class={`fill-${p.tone}`} /> {count(p.n)} {p.name}</li>)}<li><i class="rest" /> {count(r.total.queued)} queued</li></ul>
        <Limits r={r} />
      </section>
      <Waves r={r} />
      <Failures r={r} />
      <Course r={r} />
    </Page>
  );
}

function About({ r }: { r: Rollout }) {
  return (
    <>
      <State state={r.state} />
      <span>to <b>{r.version}</b></span>
      <a href={`/devices?q=${encodeURIComponent(r.plan.selector)}`}><code>{r.plan.selector || 'all devices'}</code></a>
      <span>{r.wave ? `wave ${r.wave} of ${r.waves.length}` : `${r.waves.length} waves`}</span>
      <span>by {r.by}, <Ago time={r.started || r.created} /></span>
      {r.needed > 0 && <span>{r.approvals.length} of {r.needed} approvals{r.approvals.length > 0 && ` (${r.approvals.map((a) => a.by).join(', ')})`}</span>}
    </>
  );
}

function Why({ r }: { r: Rollout }) {
  const at = useSignal({ r, at: 0 });
  if (at.value.r !== r) at.value = { r, at: now.peek() };
  const left = r.next ? Math.max(0, r.next.inMs - (at.value.at ? now.value - at.value.at : 0)) : 0;
  const all = [...(r.why ? [r.why] : []), ...(r.waiting ?? [])];
  const named: { [k: string]: string } = { window: 'The window opens', soak: 'The soak is over', start: 'It starts' };
  if (!all.length && !r.next) return null;
  return (
    <section class={r.state === 'halted' ? 'card why bad' : 'card why'} aria-label="Why it waits" data-testid="why">
      <Icon name={r.state === 'halted' ? 'problem' : 'previous'} />
      <ul>
        {all.map((w) => <li key={w}>{sentence(w)}</li>)}
        {r.next && <li>{named[r.next.what] ?? r.next.what} in {duration(left)}.</li>}
      </ul>
    </section>
  );
}

// Limits are drawn as they are judged: the rate's lower bound against the limit.
function Limits({ r }: { r: Rollout }) {
  const p = r.plan;
  const scale = Math.max(p.failPercent * 2, r.failHigh, 1);
  const at = (v: number) => `${Math.min(100, (100 * v) / scale)}%`;
  return (
    <dl class="limits">
      <div><dt>Unavailable now</dt><dd>{count(r.now)} of {count(p.maxUnavailable)}</dd><dd><meter min={0} max={p.maxUnavailable} value={r.now} aria-label="Unavailable now" /></dd></div>
      <div>
        <dt>Failure rate</dt><dd>{r.failRate.toFixed(1)} % <span class="soft">({r.failLow.toFixed(1)}–{r.failHigh.toFixed(1)})</span></dd>
        <dd><div class="bounds" role="img" aria-label={`Failure rate between ${r.failLow.toFixed(1)} and ${r.failHigh.toFixed(1)} percent; it halts when the lower is above ${p.failPercent}`}>
          <i style={{ insetInlineStart: at(r.failLow), insetInlineEnd: `calc(100% - ${at(r.failHigh)})` }} /><b style={{ insetInlineStart: at(p.failPercent) }} />
        </div></dd>
        <dd class="soft">halts above {p.failPercent} %{!!p.failCount && ` or at ${p.failCount} failures`}</dd>
      </div>
      <div><dt>Activation</dt><dd>{r.actP99Ms > 0 ? <>p50 {duration(r.actP50Ms)} · p99 {duration(r.actP99Ms)}</> : 'not measured yet'}</dd></div>
      <div><dt>Viewers' gap</dt><dd>{r.gapMaxMs > 0 ? <>p50 {duration(r.gapP50Ms)} · worst {duration(r.gapMaxMs)}</> : 'not measured yet'}{r.gapWorst && <> (<a href={`/devices/${encodeURIComponent(r.gapWorst)}`}>{r.gapWorst}</a>)</>}</dd></div>
      <div><dt>Trial</dt><dd>{duration(p.trialDeadlineMs)}, then silence is failure</dd></div>
      {p.windows?.map((w) => <div key={w.days.join() + w.from}><dt>Window</dt><dd>{w.days.join(' ')} {w.from}–{w.to}, the device's time</dd></div>)}
    </dl>
  );
}

const verdicts: { [k: string]: string } = { waiting: 'queued' };

function Waves({ r }: { r: Rollout }) {
  return (
    <section class="card" aria-labelledby="waves-title">
      <h2 id="waves-title">Waves</h2>
      <div class="scroll" tabIndex={0} role="region" aria-label="Table of waves">
        <table class="waves" data-testid="waves">
          <thead><tr>{['Wave', 'Devices', 'Staged', 'Activating', 'Trial', 'Done', 'Failed', 'Reverted', 'Away', '', 'Verdict'].map((h, i) => <th key={i} scope="col" class={i && i < 9 ? 'num' : ''}>{h || <span class="unseen">Share</span>}</th>)}</tr></thead>
          <tbody>{r.waves.map((w, i) => <Wave key={i} r={r} w={w} n={i + 1} />)}</tbody>
        </table>
      </div>
      <ul class="legend"><li><i class="mark good" /> done must reach {r.plan.successPercent} %</li><li><i class="mark bad" /> failures, from the right, halt it beyond {r.plan.failPercent} % (their lower bound)</li></ul>
    </section>
  );
}

function Wave({ r, w, n }: { r: Rollout; w: WaveState; n: number }) {
  const c = w.counts;
  const cells: [number, string][] = [[c.staged, 'staged'], [c.activating, 'activating'], [c.trial, 'trial'], [c.done, 'done'], [c.failed, 'failed'], [c.reverted + c.reverting, 'reverted']];
  const ended = c.done + c.failed + c.reverted + c.skipped;
  return (
    <tr data-open={n === r.wave} aria-current={n === r.wave ? 'step' : undefined}>
      <th scope="row">{n} {w.name}</th>
      <td class="num">{count(c.devices)}</td>
      {cells.map(([v, phase]) => <td key={phase} class="num">{v ? <a href={`?wave=${n}&phase=${phase}`}>{count(v)}</a> : '–'}</td>)}
      <td class="num">{c.offline ? count(c.offline) : '–'}</td>
      <td class="share"><Stack label={`Wave ${n}`} parts={parts(c)} whole={c.devices} marks={[{ at: r.plan.successPercent, name: `${r.plan.successPercent} % must succeed`, tone: 'good' }, { at: 100 - r.plan.failPercent, name: `halts above ${r.plan.failPercent} % of failures`, tone: 'bad' }]} /></td>
      <td><State state={verdicts[w.verdict] ?? w.verdict} word={w.verdict} /><small class="soft">{w.why || (w.verdict === 'open' ? `${percent(ended, c.devices).toFixed(0)} % ended` : w.closed ? clock(w.closed) : '')}</small></td>
    </tr>
  );
}

function Failures({ r }: { r: Rollout }) {
  if (!r.failures.length) return null;
  return (
    <section class="card" aria-labelledby="failures-title">
      <header class="row"><h2 id="failures-title">Failures by cause</h2><a href="?phase=failed">Show the devices</a></header>
      <ul class="causes">
        {r.failures.map((f) => (
          <li key={f.cause}><b class="num">{count(f.devices)} ×</b> <span title={f.cause}>{sentence(reason(f.cause))}</span> <span class="soft">such as {f.sample.slice(0, 5).map((id) => <a key={id} href={`/devices/${encodeURIComponent(id)}`}>{id}</a>)}</span></li>
        ))}
      </ul>
    </section>
  );
}

// Course lists devices of a wave in a phase, as the address says.
function Course({ r }: { r: Rollout }) {
  const wave = query.value.get('wave') ?? '';
  const phase = query.value.get('phase') ?? '';
  const ask = wave || phase ? `rollouts/${encodeURIComponent(r.id)}/devices?` + new URLSearchParams({ wave, phase }) : '';
  const { value, error } = useLoaded<RolloutDevices>(ask);
  if (!ask) return null;
  const v = value.value;
  return (
    <section class="card" aria-labelledby="course-title">
      <header class="row"><h2 id="course-title">{wave ? `Wave ${wave}` : 'All waves'}{phase && `, ${phase}`}{v && ` · ${devices(v.total)}`}</h2><button type="button" class="quiet" onClick={() => (set('wave', ''), set('phase', ''))}>Close</button></header>
      <Fault text={error.value} />
      {v && !v.devices.length && <Nothing>No device at present.</Nothing>}
      <ul class="causes">{v?.devices.map((d) => <li key={d.id} data-row tabIndex={-1}><a href={`/devices/${encodeURIComponent(d.id)}`}>{d.id}</a> <State state={d.phase} /> <span class="soft"><Ago time={d.since} />{d.tries > 1 && `, try ${d.tries}`}{d.cause && ` · ${reason(d.cause)}`}{d.detail && `: ${d.detail}`}</span></li>)}</ul>
    </section>
  );
}

const verbs: { [k: string]: { word: string; kind: 'main' | 'bad' | 'plain'; concerns?: (r: Rollout) => number; says?: string } } = {
  approve: { word: 'Approve', kind: 'main' },
  start: { word: 'Start …', kind: 'main', concerns: (r) => r.total.devices, says: 'The first wave opens as soon as its devices have the release staged.' },
  pause: { word: 'Pause', kind: 'plain' },
  resume: { word: 'Resume', kind: 'main' },
  retry: { word: 'Retry failed', kind: 'plain' },
  confirm: { word: 'Confirm …', kind: 'main', concerns: (r) => r.total.trial, says: 'Every device that is on trial now becomes permanent.' },
  'skip-wave': { word: 'Skip wave …', kind: 'plain', concerns: (r) => open(r), says: 'Its devices that have not begun stay as they are; the next wave opens.' },
  abort: { word: 'Abort …', kind: 'bad', concerns: (r) => pending(r), says: 'Devices that have not begun stay as they are. What is done stays done.' },
  'abort-revert': { word: 'Abort and revert …', kind: 'bad', concerns: (r) => r.total.done + r.total.trial + r.total.activating, says: 'Devices that have the new version go back to the one before; viewers keep their pictures.' },
};

const order = Object.keys(verbs); // what cannot be taken back comes last

const pending = (r: Rollout) => r.total.devices - r.total.done - r.total.failed - r.total.reverted - r.total.skipped;
const open = (r: Rollout) => {
  const c = r.waves[r.wave - 1]?.counts;
  return c ? c.queued + c.staging + c.staged : 0;
};

// What a rollout is past, or has not come to, is not offered; what is in the way of the rest
// is said beside it.
function timely(s: Step, r: Rollout): boolean {
  const before = r.state === 'draft' || r.state === 'approved';
  switch (s.name) {
    case 'approve':
    case 'start':
      return before || !s.denied;
    case 'pause':
      return !s.denied || r.state === 'running';
    case 'resume':
    case 'confirm':
      return !s.denied;
    case 'abort':
      return true;
    default:
      return !before && (!s.denied || !r.ended);
  }
}

function Verbs({ r, reload }: { r: Rollout; reload: () => void }) {
  const asking = useSignal<{ verb: string; rev: number; n: number } | null>(null);
  const ask = async (verb: string, rev: number, body: { why?: string; expect?: number }) => {
    await post(`rollouts/${encodeURIComponent(r.id)}/${verb}`, body, { rev });
    toast('plain', `Asked: ${verb.replace('-', ' and ').replace('skip and', 'skip')}. The page shows what became of it.`);
    reload();
  };
  const press = (s: Step) => {
    const v = verbs[s.name]!;
    if (!v.concerns) return ask(s.name, r.rev, {});
    // What is confirmed is what was shown: the number and the revision of this moment.
    asking.value = { verb: s.name, rev: r.rev, n: v.concerns(r) };
    return undefined;
  };
  const a = asking.value;
  const v = a && verbs[a.verb]!;
  return (
    <>
      {r.actions.filter((s) => verbs[s.name] && timely(s, r)).sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name)).map((s) => <Button key={s.name} kind={verbs[s.name]!.kind} denied={s.denied} testid={s.name} onClick={() => press(s)}>{verbs[s.name]!.word}</Button>)}
      {a && v && (
        <Confirm title={`${v.word.replace(' …', '')}: ${r.plan.name || 'rollout ' + r.id}`} word={v.word.replace(' …', '')} expect={a.n} onClose={() => (asking.value = null)} onYes={(why) => ask(a.verb, r.rev, { expect: a.n, ...(why ? { why } : {}) })}>
          <p>It concerns <b>{devices(a.n)}</b> as of {date(new Date().toISOString())}. {v.says}</p>
        </Confirm>
      )}
    </>
  );
}
