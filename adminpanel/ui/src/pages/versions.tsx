import { Fault, Nothing, Page, Wait } from '../parts';
import { useLoaded } from '../store';
import type { VersionPoint, Versions as All } from '../view';
import { clock, count, devices, percent, quoted } from '../words';

export function Versions() {
  const { value, error, reload } = useLoaded<All>('versions', 'devices');
  const v = value.value;
  if (!v) return <Page title="Versions">{error.value ? <Fault text={error.value} retry={reload} /> : <Wait />}</Page>;
  const most = Math.max(1, ...v.versions.map((c) => c.running));
  const cell = (n: number, field: string, version: string) => (
    <td class="num">{n ? <a href={'/devices?q=' + encodeURIComponent(`${field}:${quoted(version || '""')}`)}>{count(n)}</a> : '–'}</td>
  );
  return (
    <Page title="Versions" about={devices(v.total)}>
      <Fault text={error.value} retry={reload} />
      {!v.versions.length && <Nothing>No device has said yet what it runs.</Nothing>}
      <div class="columns wide">
        <section class="card" aria-labelledby="matrix-title">
          <h2 id="matrix-title">Who has what</h2>
          <div class="scroll" tabIndex={0} role="region" aria-label="Versions and roles">
            <table data-testid="versions">
              <thead><tr><th scope="col">Version</th>{['Running', 'of them away', 'Staged', 'Previous', 'Reverted'].map((h) => <th key={h} scope="col" class="num">{h}</th>)}<th scope="col"><span class="unseen">Share</span></th></tr></thead>
              <tbody>
                {v.versions.map((c) => (
                  <tr key={c.version}>
                    <th scope="row">{c.version || 'not known'}</th>
                    {cell(c.running, 'version', c.version)}
                    <td class="num soft">{c.stale ? count(c.stale) : '–'}</td>
                    {cell(c.staged, 'staged', c.version)}
                    {cell(c.previous, 'previous', c.version)}
                    <td class="num">{c.reverted ? count(c.reverted) : '–'}</td>
                    <td class="share"><div class="share-bar" role="img" aria-label={`${percent(c.running, v.total).toFixed(1)} percent run it`}><i style={{ width: `${(100 * c.running) / most}%` }} /></div></td>
                  </tr>
                ))}
              </tbody>
              <tfoot><tr><th scope="row">All</th><td class="num" data-testid="sum">{count(v.versions.reduce((s, c) => s + c.running, 0))}</td><td class="num">{count(v.versions.reduce((s, c) => s + c.stale, 0))}</td><td colSpan={4} /></tr></tfoot>
            </table>
          </div>
        </section>
        {v.history && v.history.length > 1 && <Trend points={[...v.history, present(v)]} versions={v.versions.map((c) => c.version)} />}
      </div>
    </Page>
  );
}

// present is how it is now, which the panel's own points, one in a quarter of an hour, lag behind.
const present = (v: All): VersionPoint => ({ at: new Date().toISOString(), running: Object.fromEntries(v.versions.map((c) => [c.version, c.running])) });

// Trend draws how many devices ran which version over the last day, one band each. The
// newest versions have the strongest bands; each is named where it ends.
function Trend({ points, versions }: { points: VersionPoint[]; versions: string[] }) {
  const w = 600;
  const h = 240;
  const shown = versions.filter((v) => points.some((p) => p.running[v])).slice(0, 6);
  const sum = (p: VersionPoint) => Object.values(p.running).reduce((s, n) => s + n, 0);
  const most = Math.max(1, ...points.map(sum));
  const t0 = new Date(points[0]!.at).getTime();
  const t1 = new Date(points.at(-1)!.at).getTime();
  const x = (p: VersionPoint) => (w * (new Date(p.at).getTime() - t0)) / (t1 - t0 || 1);
  let floor = points.map(() => 0);
  const bands = [...shown].reverse().map((v) => {
    const top = points.map((p, i) => floor[i]! + (p.running[v] ?? 0));
    const y = (n: number) => h - (h * n) / most;
    const d = 'M' + points.map((p, i) => `${x(p).toFixed(1)} ${y(top[i]!).toFixed(1)}`).join('L') + 'L' + points.map((p, i) => `${x(p).toFixed(1)} ${y(floor[i]!).toFixed(1)}`).reverse().join('L') + 'Z';
    floor = top;
    return { v, d };
  });
  return (
    <section class="card trend" aria-labelledby="trend-title">
      <header class="row"><h2 id="trend-title">The last day</h2><span class="soft">up to {devices(most)}</span></header>
      <svg viewBox={`0 0 ${w} ${h}`} preserveAspectRatio="none" role="img" aria-label={`From ${clock(points[0]!.at, false)} to now: ` + shown.map((v) => `${v} from ${points[0]!.running[v] ?? 0} to ${points.at(-1)!.running[v] ?? 0} devices`).join('; ')}>
        {bands.map((b) => <path key={b.v} d={b.d} class={`band band${shown.indexOf(b.v)}`} />)}
      </svg>
      <p class="axis">{[0, 0.25, 0.5, 0.75, 1].map((part) => <span key={part}>{part === 1 ? 'now' : clock(new Date(t0 + part * (t1 - t0)).toISOString(), false)}</span>)}</p>
      <ul class="legend">{shown.map((v, i) => <li key={v}><i class={`band${i}`} /> {v} <span class="soft">{count(points[0]!.running[v] ?? 0)} → {count(points.at(-1)!.running[v] ?? 0)}</span></li>)}</ul>
    </section>
  );
}
