import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { get, why } from '../api';
import { Fault, Nothing, Page, Wait } from '../parts';
import { query, set } from '../router';
import { useLoaded } from '../store';
import type { Audit as Lines, AuditLine } from '../view';
import { clock, date, deed } from '../words';

export function Audit() {
  const object = query.value.get('object') ?? '';
  const base = 'audit?' + new URLSearchParams({ object });
  const { value, error, reload } = useLoaded<Lines>(base, 'audit');
  const older = useSignal<AuditLine[]>([]);
  const after = useSignal<string | undefined>(undefined);
  useEffect(() => {
    older.value = [];
    after.value = undefined;
  }, [base]);
  const v = value.value;
  const next = after.value ?? v?.after;
  const more = async () => {
    try {
      const got = await get<Lines>(`${base}&after=${encodeURIComponent(next!)}`);
      older.value = [...older.value, ...got.lines];
      after.value = got.after ?? '';
    } catch (err) {
      error.value = why(err);
    }
  };
  // New lines push older ones off the first page; none is shown twice.
  const lines = v ? [...v.lines, ...older.value.filter((l) => l.seq < (v.lines.at(-1)?.seq ?? 0))] : [];
  let day = '';
  return (
    <Page title="Audit" about="Who did what, from where. Every line is chained to the one before." actions={<a class="button" href="/api/v1/audit/export" download>Export</a>}>
      <label class="field wide"><span>About</span><input data-search type="search" placeholder="a device, rollout, release or account" value={object} onChange={(e) => set('object', e.currentTarget.value.trim())} /></label>
      <Fault text={error.value} retry={reload} />
      {!v ? !error.value && <Wait /> : !lines.length ? <Nothing>Nothing was done yet{object && ` to ${object}`}.</Nothing> : (
        <ol class="audit" data-testid="audit">
          {lines.map((l) => {
            const d = new Date(l.at).toDateString();
            const fresh = d !== day;
            day = d;
            return <Line key={l.seq} l={l} day={fresh ? new Date(l.at).toLocaleDateString([], { dateStyle: 'full' }) : ''} />;
          })}
        </ol>
      )}
      {next && <div class="buttons"><button onClick={more}>Older</button></div>}
    </Page>
  );
}

const shown = (x: unknown) => (typeof x === 'string' ? x : JSON.stringify(x, null, 1));

function Line({ l, day }: { l: AuditLine; day: string }) {
  const detail = l.before !== undefined || l.after !== undefined;
  return (
    <li data-row data-action={l.action} tabIndex={-1}>
      {day && <h2>{day}</h2>}
      <div class="entry">
        <time class="soft" title={date(l.at)}>{clock(l.at)}</time>
        <span><b>{l.actor}</b> <span title={l.action}>{deed(l.action)}</span> {l.object && l.object !== l.actor && <a href={'?object=' + encodeURIComponent(l.object)}>{l.object}</a>}{l.detail && <span class="soft"> · {l.detail}</span>}{l.from && <span class="soft"> · from {l.from}</span>}</span>
        {detail && <details><summary>Before and after</summary><div class="pair"><pre>{l.before === undefined ? '–' : shown(l.before)}</pre><pre>{l.after === undefined ? '–' : shown(l.after)}</pre></div></details>}
        <code class="soft" title={`line ${l.seq}, hash ${l.hash}`}>{l.hash.slice(0, 8)}</code>
      </div>
    </li>
  );
}
