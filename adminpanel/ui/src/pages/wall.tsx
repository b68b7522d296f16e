import { useSignal } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { Fault, Nothing, Page } from '../parts';
import { query, set } from '../router';
import { Rows } from '../rows';
import { settings } from '../store';
import { Tile } from '../tile';
import { devices } from '../words';

// The layout is in the address: q, columns, stream, kiosk.
export function Wall() {
  const q = query.value.get('q') ?? '';
  const columns = Math.min(12, Math.max(0, Number(query.value.get('columns')) || 0));
  const stream = query.value.get('stream') ?? '';
  const kiosk = query.value.has('kiosk');
  const rows = useMemo(() => new Rows(q), [q]);
  useEffect(() => () => rows.close(), [rows]);
  const typed = useSignal(q);
  useEffect(() => {
    typed.value = q;
  }, [q]);
  useEffect(() => {
    const leave = (e: KeyboardEvent) => e.key === 'Escape' && set('kiosk', '');
    if (!kiosk) return;
    document.addEventListener('keydown', leave);
    // A wall is looked at, not touched: the screen stays on as long as it can be asked to.
    const lock = navigator.wakeLock?.request('screen').catch(() => null);
    return () => {
      document.removeEventListener('keydown', leave);
      void lock?.then((l) => l?.release());
    };
  }, [kiosk]);
  const walls = settings.value?.walls ?? [];
  const tiles = (
    <div class="wall" data-testid="wall" style={columns ? { gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))` } : {}}>
      {rows.list.value.map((d) => <Tile key={d.value.id} device={d.value} wanted={[stream, 'sub', 'main']} />)}
    </div>
  );
  const more = rows.list.value.length < rows.total.value && (
    <div class="buttons"><button onClick={() => rows.more()}>Show more of {devices(rows.total.value)}</button></div>
  );
  if (kiosk) return <><h1 class="unseen" tabIndex={-1}>Wall</h1>{tiles}</>;
  return (
    <Page title="Wall" about={rows.loading.value ? '…' : devices(rows.total.value)} actions={<button onClick={() => set('kiosk', '1', false)}>Kiosk</button>}>
      <form class="bar" role="search" onSubmit={(e) => (e.preventDefault(), set('q', typed.value.trim()))}>
        <label class="field wide"><span>Which devices</span><input data-search type="search" value={typed.value} placeholder="site:north tag:door" onInput={(e) => (typed.value = e.currentTarget.value)} /></label>
        <label class="field"><span>Columns</span>
          <select value={String(columns)} onChange={(e) => set('columns', e.currentTarget.value === '0' ? '' : e.currentTarget.value)}>
            <option value="0">as they fit</option>
            {[1, 2, 3, 4, 5, 6, 8, 10, 12].map((n) => <option key={n} value={String(n)}>{n}</option>)}
          </select>
        </label>
        <label class="field"><span>Stream</span>
          <select value={stream} onChange={(e) => set('stream', e.currentTarget.value)}>
            <option value="">small, where there is one</option><option>main</option><option>sub</option>
          </select>
        </label>
      </form>
      {walls.length > 0 && (
        <div class="chips">{walls.map((w) => (
          <a key={w.name} class="chip view" href={'/wall?' + new URLSearchParams({ q: w.selector, ...(w.stream ? { stream: w.stream } : {}), ...(w.columns ? { columns: String(w.columns) } : {}) })}>{w.name}</a>
        ))}</div>
      )}
      <Fault text={rows.error.value} retry={() => rows.more()} />
      {tiles}
      {more}
      {!rows.loading.value && !rows.error.value && !rows.list.value.length && <Nothing>No device meets this filter.</Nothing>}
    </Page>
  );
}
