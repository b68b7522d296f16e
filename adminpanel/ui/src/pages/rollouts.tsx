import { State } from '../icons';
import { Ago, Fault, Nothing, Page, Stack, Wait } from '../parts';
import { may, useLoaded } from '../store';
import type { Counts, Rollout, Rollouts as List } from '../view';
import { count } from '../words';

// parts of a bar, in the order of a device's course.
export function parts(c: Counts) {
  return [
    { name: 'done', n: c.done, tone: 'good' },
    { name: 'on trial', n: c.trial + c.activating, tone: 'wait' },
    { name: 'staged', n: c.staged, tone: 'plain' },
    { name: 'staging', n: c.staging, tone: 'faint' },
    { name: 'unknown', n: c.unknown, tone: 'soft' },
    { name: 'skipped', n: c.skipped, tone: 'soft', last: true },
    { name: 'reverted', n: c.reverted + c.reverting, tone: 'back', last: true },
    { name: 'failed', n: c.failed, tone: 'bad', last: true },
  ];
}

export function Rollouts() {
  const { value, error, reload } = useLoaded<List>('rollouts', 'rollouts', (old, e) => {
    if (e.kind !== 'rollout' || !('data' in e) || !e.data) return null;
    const r = e.data as Rollout;
    if (!old.rollouts.some((o) => o.id === r.id)) return { rollouts: [r, ...old.rollouts] };
    return { rollouts: old.rollouts.map((o) => (o.id === r.id ? r : o)) };
  });
  const list = value.value?.rollouts;
  return (
    <Page title="Rollouts" actions={may('releaser') && <a class="button main" href="/rollouts/new">New rollout</a>}>
      <Fault text={error.value} retry={reload} />
      {!list ? !error.value && <Wait /> : !list.length ? <Nothing>No rollout yet. Choose devices in the <a href="/devices">fleet</a> and roll a release out to them.</Nothing> : (
        <ul class="list" data-testid="rollouts">
          {list.map((r) => (
            <li key={r.id}>
              <a class="card line" href={`/rollouts/${r.id}`} data-row>
                <span class="what"><b>{r.plan.name || `Rollout ${r.id}`}</b><small>to {r.version} · {r.plan.selector || 'all devices'}</small></span>
                <State state={r.state} />
                <span class="soft">{r.wave ? `wave ${r.wave} of ${r.waves.length}` : `${r.waves.length} waves`}</span>
                <Stack label="Devices" parts={parts(r.total)} whole={r.total.devices} />
                <span class="num">{r.total.devices ? `${count(r.total.done)} of ${count(r.total.devices)}` : ''}</span>
                <span class="soft"><Ago time={r.ended || r.started || r.created} /></span>
              </a>
            </li>
          ))}
        </ul>
      )}
    </Page>
  );
}
