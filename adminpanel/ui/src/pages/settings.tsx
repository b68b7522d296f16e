import { useSignal } from '@preact/signals';
import { call } from '../api';
import { Icon } from '../icons';
import { Button, Fault, Page, Text } from '../parts';
import { query } from '../router';
import { may, settings, toast } from '../store';
import type { Settings as All } from '../view';
import { Accounts, Enrolments, Tokens } from './access';

const tabs: [string, string][] = [['', 'Fleet'], ['accounts', 'Accounts'], ['tokens', 'API tokens'], ['enrolment', 'Enrolment'], ['walls', 'Walls and views']];

export function Settings() {
  const tab = query.value.get('tab') ?? '';
  return (
    <Page title="Settings">
      <nav class="tabs" aria-label="Settings">{tabs.map(([id, name]) => <a key={id} href={id ? `?tab=${id}` : '/settings'} aria-current={id === tab ? 'page' : undefined}>{name}</a>)}</nav>
      {!may('admin') && <p class="stale"><Icon name="unknown" /> Your role may look; an admin changes things here.</p>}
      {tab === 'accounts' ? <Accounts /> : tab === 'tokens' ? <Tokens /> : tab === 'enrolment' ? <Enrolments /> : tab === 'walls' ? <Walls /> : <Rules />}
    </Page>
  );
}

async function put(change: Partial<All>): Promise<void> {
  const s = settings.value!;
  settings.value = await call<All>('PUT', 'settings', { ...s, ...change }, { rev: s.rev });
  toast('good', 'Saved.');
}

function Rules() {
  const s = settings.value;
  const above = useSignal(String(s?.approveAbove ?? 0));
  const idle = useSignal(String((s?.sessionIdleMs ?? 0) / 60_000));
  const away = useSignal(String((s?.offlineAfterMs ?? 0) / 60_000));
  const zone = useSignal(s?.zone ?? '');
  if (!s) return <Fault text="The settings are not there." />;
  const save = () => put({ approveAbove: Number(above.value), sessionIdleMs: Number(idle.value) * 60_000, offlineAfterMs: Number(away.value) * 60_000, zone: zone.value.trim() });
  return (
    <div class="columns">
      <section class="card form" aria-labelledby="rules-title">
        <h2 id="rules-title">Rules</h2>
        <Text label="A second person approves rollouts to more than" hint="devices; 0: never" inputMode="numeric" value={above.value} set={(v) => (above.value = v)} />
        <Text label="Sessions end when idle for, minutes" inputMode="numeric" value={idle.value} set={(v) => (idle.value = v)} />
        <Text label="An absence is written down after, minutes" inputMode="numeric" value={away.value} set={(v) => (away.value = v)} />
        <Text label="Time zone of devices that name none" value={zone.value} set={(v) => (zone.value = v)} />
        <div class="buttons"><Button kind="main" denied={may('admin') ? '' : 'Your role may not change it.'} onClick={save}>Save</Button></div>
      </section>
      <section class="card form" aria-labelledby="roots-title">
        <h2 id="roots-title">Fleet root</h2>
        <p class="soft">Devices take orders under these keys. Compare them by eye with what was written down when they were made.</p>
        {s.roots.map((r) => <code key={r} class="key">{r.match(/.{1,4}/g)?.join(' ')}</code>)}
      </section>
    </div>
  );
}

function Walls() {
  const s = settings.value;
  const kind = useSignal<'walls' | 'views'>('walls');
  const name = useSignal('');
  const selector = useSignal('');
  const columns = useSignal('');
  if (!s) return <Fault text="The settings are not there." />;
  const add = async () => {
    const item = { name: name.value.trim(), selector: selector.value.trim() };
    if (kind.value === 'walls') await put({ walls: [...s.walls, { ...item, ...(Number(columns.value) ? { columns: Number(columns.value) } : {}) }] });
    else await put({ views: [...s.views, item] });
    name.value = selector.value = columns.value = '';
  };
  const list = (title: string, items: { name: string; selector: string }[], href: string, drop: (name: string) => Promise<void>) => (
    <section class="card" aria-label={title}>
      <h2>{title}</h2>
      {!items.length && <p class="soft">None yet.</p>}
      <ul class="causes">{items.map((i) => <li key={i.name}><a href={href + encodeURIComponent(i.selector)}>{i.name}</a> <code>{i.selector || 'all devices'}</code> {may('admin') && <Button onClick={() => drop(i.name)}>Remove</Button>}</li>)}</ul>
    </section>
  );
  return (
    <div class="columns">
      {list('Walls', s.walls, '/wall?q=', (n) => put({ walls: s.walls.filter((w) => w.name !== n) }))}
      {list('Views', s.views, '/devices?q=', (n) => put({ views: s.views.filter((w) => w.name !== n) }))}
      {may('admin') && (
        <section class="card form" aria-labelledby="add-title">
          <h2 id="add-title">Add</h2>
          <label class="field"><span>As</span><select value={kind.value} onChange={(e) => (kind.value = e.currentTarget.value as 'walls')}><option value="walls">a wall of pictures</option><option value="views">a view of the fleet</option></select></label>
          <Text label="Name" value={name.value} set={(v) => (name.value = v)} maxLength={60} />
          <Text label="Devices" value={selector.value} set={(v) => (selector.value = v)} />
          {kind.value === 'walls' && <Text label="Columns" hint="empty: as they fit" inputMode="numeric" value={columns.value} set={(v) => (columns.value = v)} />}
          <div class="buttons"><Button kind="main" denied={name.value.trim() ? '' : 'It needs a name.'} onClick={add}>Add</Button></div>
        </section>
      )}
    </div>
  );
}
