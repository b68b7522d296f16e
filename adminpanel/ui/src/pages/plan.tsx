import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { post, why } from '../api';
import { Icon } from '../icons';
import { Button, Fault, Field, Page, Text } from '../parts';
import { go, query } from '../router';
import { useLoaded } from '../store';
import type { Plan, Preview, Releases, Rollout, Wave } from '../view';
import { bare, count, devices } from '../words';

interface Draft {
  name: string;
  waves: { name: string; size: string; soak: string; pause: boolean }[];
  unavailable: string;
  perSite: string;
  success: string;
  fail: string;
  trial: string;
  onFailure: Plan['onFailure'];
  activation: Plan['activation'];
  from: string;
  to: string;
}

const start: Draft = {
  name: '', unavailable: '50', perSite: '1', success: '95', fail: '2', trial: '5', onFailure: 'halt', activation: 'waves', from: '', to: '',
  waves: [
    { name: 'canary', size: '1', soak: '60', pause: true },
    { name: 'first', size: '10%', soak: '60', pause: false },
    { name: 'rest', size: '', soak: '', pause: false },
  ],
};

const all = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];

function planned(d: Draft, release: string, selector: string): Plan {
  const waves = d.waves.map((w): Wave => ({
    ...(w.name ? { name: w.name } : {}),
    ...(w.size.endsWith('%') ? { percent: Number(w.size.slice(0, -1)) } : w.size ? { count: Number(w.size) } : {}),
    ...(w.soak ? { soakMs: Number(w.soak) * 60_000 } : {}),
    ...(w.pause ? { pause: true } : {}),
  }));
  return {
    ...(d.name ? { name: d.name } : {}),
    release, selector, waves,
    maxUnavailable: Number(d.unavailable), ...(Number(d.perSite) ? { maxPerSite: Number(d.perSite) } : {}),
    successPercent: Number(d.success), failPercent: Number(d.fail), trialDeadlineMs: Number(d.trial) * 60_000,
    onFailure: d.onFailure, activation: d.activation,
    ...(d.from && d.to ? { windows: [{ days: all, from: d.from, to: d.to }] } : {}),
  };
}

export function NewRollout() {
  const selector = useSignal(query.value.get('q') ?? '');
  const release = useSignal(query.value.get('release') ?? '');
  const draft = useSignal(start);
  const preview = useSignal<Preview | null>(null);
  const error = useSignal('');
  const { value } = useLoaded<Releases>('releases');
  const d = draft.value;
  const change = (c: Partial<Draft>) => (draft.value = { ...draft.value, ...c });
  const plan = planned(d, release.value, selector.value);
  const text = JSON.stringify(plan);
  useEffect(() => {
    preview.value = null;
    error.value = '';
    if (!release.value) return;
    const timer = setTimeout(() => {
      post<Preview>('rollouts/preview', plan).then((p) => (preview.value = p), (err) => (error.value = why(err)));
    }, 300);
    return () => clearTimeout(timer);
  }, [text]);
  const wave = (i: number, c: Partial<Draft['waves'][0]>) => change({ waves: d.waves.map((w, n) => (n === i ? { ...w, ...c } : w)) });
  const make = async () => {
    const r = await post<Rollout>('rollouts', plan);
    go('/rollouts/' + encodeURIComponent(r.id));
  };
  const p = preview.value;
  return (
    <Page title="New rollout" about="Nothing happens before it is started on its own page.">
      <div class="columns">
        <section class="card form" aria-labelledby="plan-what">
          <h2 id="plan-what">What, and to whom</h2>
          <Field label="Release">
            <select data-testid="plan-release" value={release.value} onChange={(e) => (release.value = e.currentTarget.value)}>
              <option value="">Choose …</option>
              {value.value?.releases.filter((r) => !r.withdrawn).map((r) => <option key={r.id} value={r.id}>{bare(r)} {r.version}</option>)}
            </select>
          </Field>
          <Text label="Devices" hint="in the words of the fleet's filter; empty means all" value={selector.value} set={(v) => (selector.value = v)} testid="plan-selector" />
          <Text label="Name" hint="for people" value={d.name} set={(v) => change({ name: v })} maxLength={120} />
          <h2>Waves</h2>
          {d.waves.map((w, i) => (
            <fieldset class="wave" key={i}>
              <legend>Wave {i + 1}</legend>
              <Text label="Name" value={w.name} set={(v) => wave(i, { name: v })} />
              <Text label="Size" hint={i === d.waves.length - 1 ? 'empty: the rest' : '10 or 5%'} value={w.size} set={(v) => wave(i, { size: v.trim() })} />
              <Text label="Soak, minutes" inputMode="numeric" value={w.soak} set={(v) => wave(i, { soak: v.trim() })} />
              <label class="check"><input type="checkbox" checked={w.pause} onChange={(e) => wave(i, { pause: e.currentTarget.checked })} /> then wait for a person</label>
              {d.waves.length > 1 && <button type="button" class="quiet drop-wave" aria-label={`Remove wave ${i + 1}`} onClick={() => change({ waves: d.waves.filter((_, n) => n !== i) })}><Icon name="close" /></button>}
            </fieldset>
          ))}
          <div class="buttons"><button type="button" onClick={() => change({ waves: [...d.waves.slice(0, -1), { name: '', size: '25%', soak: '60', pause: false }, ...d.waves.slice(-1)] })}>Add a wave</button></div>
        </section>
        <section class="card form" aria-labelledby="plan-how">
          <h2 id="plan-how">How carefully</h2>
          <div class="pair">
            <Text label="Unavailable at a time" inputMode="numeric" value={d.unavailable} set={(v) => change({ unavailable: v })} />
            <Text label="Of one site" hint="0: no limit" inputMode="numeric" value={d.perSite} set={(v) => change({ perSite: v })} />
            <Text label="Success for the next wave, %" inputMode="numeric" value={d.success} set={(v) => change({ success: v })} />
            <Text label="Failure limit, %" hint="its lower bound counts" inputMode="numeric" value={d.fail} set={(v) => change({ fail: v })} />
            <Text label="Trial, minutes" hint="silence past it is failure" inputMode="numeric" value={d.trial} set={(v) => change({ trial: v })} />
            <Field label="A crossed limit">
              <select value={d.onFailure} onChange={(e) => change({ onFailure: e.currentTarget.value as Plan['onFailure'] })}>
                <option value="halt">halts it</option><option value="pause">pauses it</option><option value="revert">halts and reverts</option>
              </select>
            </Field>
            <Field label="Activation">
              <select value={d.activation} onChange={(e) => change({ activation: e.currentTarget.value as Plan['activation'] })}>
                <option value="waves">wave by wave</option><option value="together">all in one moment</option>
              </select>
            </Field>
            <Text label="Only from" type="time" hint="the device's own time" value={d.from} set={(v) => change({ from: v })} />
            <Text label="until" type="time" value={d.to} set={(v) => change({ to: v })} />
          </div>
          <div class="preview" role="status" data-testid="preview">
            {!release.value ? <p class="soft">Choose a release to see what would happen.</p> : error.value ? <Fault text={error.value} /> : !p ? <p class="soft">Counting …</p> : (
              <>
                <p><b>{devices(p.devices)}</b> in {p.waves.length} waves</p>
                <ol>{p.waves.map((w, i) => <li key={i}>{w.name || `wave ${i + 1}`}: {devices(w.devices)}{w.sample.length > 0 && <span class="soft"> ({w.sample.slice(0, 3).join(', ')}{w.devices > 3 && ' …'})</span>}</li>)}</ol>
                {p.has > 0 && <p class="soft">{devices(p.has)} of them run it already{p.through > 0 && `; ${count(p.through)} pass another version first`}.</p>}
                {p.refusedTotal > 0 && <p class="fault"><Icon name="skipped" /><span>{devices(p.refusedTotal)} left out: {p.refused.slice(0, 3).map((r) => `${r.device}, ${r.why}`).join('; ')}</span></p>}
              </>
            )}
          </div>
          <div class="buttons"><Button kind="main" testid="plan-make" denied={p && p.devices ? '' : 'It needs a release and at least one device.'} onClick={make}>Make the rollout</Button></div>
        </section>
      </div>
    </Page>
  );
}
