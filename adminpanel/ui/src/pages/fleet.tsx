import { effect, signal, useSignal } from '@preact/signals';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { Icon } from '../icons';
import { Button, Dialog, Page, Text } from '../parts';
import { call } from '../api';
import { go, query, set } from '../router';
import { page, Rows } from '../rows';
import { fault, fields, terms, toggled, without } from '../selector';
import { may, say, settings, toast } from '../store';
import type { Settings } from '../view';
import { count, devices, quoted } from '../words';
import { Table } from './table';

const quick: [string, string, string][] = [
  ['state:problem', 'Problem', 'problem'],
  ['state:trial', 'On trial', 'trial'],
  ['state:staged', 'Staged', 'staged'],
  ['state:offline', 'Away', 'offline'],
];

// Selected survives a look at a device and back.
const selected = signal<ReadonlySet<string>>(new Set());
const everything = signal(false);
effect(() => {
  query.value.get('q');
  everything.value = false;
});

export function Fleet() {
  const q = query.value.get('q') ?? '';
  const turn = useSignal(0);
  const from = query.value.get('from') ?? '';
  const rows = useMemo(() => new Rows(q, from), [q, from, turn.value]);
  useEffect(() => () => rows.close(), [rows]);
  const { total, first, error, loading } = rows;
  const landing = useRef(false); // somebody has jumped, and goes on with the keys of the list
  useEffect(() => effect(() => {
    if (loading.value || error.value) return;
    say(first.value > 1 ? `${devices(total.value)} listed, from number ${count(first.value)} on` : `${devices(total.value)} listed`);
    if (!landing.current) return;
    landing.current = false;
    requestAnimationFrame(() => document.querySelector<HTMLElement>('[role=grid]')?.focus());
  }), [rows]);
  const jump = (to: string) => {
    if (to === from) return;
    landing.current = true;
    set('row', '');
    set('from', to, false);
  };
  return (
    <Page title="Fleet" about={<span data-testid="total">{loading.value ? '…' : q ? `${devices(total.value)} meet the filter` : devices(total.value)}</span>}>
      <Search q={q} error={error.value} />
      {rows.changed.value && (
        <p class="stale" role="status">
          <Icon name="unknown" /> Devices came or went since this list was made. <button onClick={() => turn.value++}>Look again</button>
        </p>
      )}
      {(from || total.value > page) && <Jump from={from} rows={rows} jump={jump} />}
      <Table rows={rows} selected={selected} everything={everything} />
      <Bulk rows={rows} q={q} />
    </Page>
  );
}

// Jump brings one to a name or a place far down the list. The address keeps it.
function Jump({ from, rows, jump }: { from: string; rows: Rows; jump: (to: string) => void }) {
  const text = useSignal(from);
  useEffect(() => void (text.value = from), [from]);
  const n = rows.list.value.length;
  return (
    <form class="jump" onSubmit={(e) => (e.preventDefault(), jump(text.value.trim()))}>
      <label>Jump to <input data-jump data-testid="jump" type="text" maxLength={64} spellcheck={false} autocomplete="off" placeholder="how its id begins, or #5000" value={text.value} onInput={(e) => (text.value = e.currentTarget.value)}
        onKeyDown={(e) => e.key === 'Escape' && e.currentTarget.blur()} /></label>
      <Button onClick={() => jump(text.value.trim())}>Jump</Button>
      {from && <Button testid="jump-first" onClick={() => jump('')}>From the first</Button>}
      <span class="soft" data-testid="place">{n ? `from number ${count(rows.first.value)} of ${count(rows.total.value)}` : !rows.loading.value && from && 'no device comes there or after'}</span>
    </form>
  );
}

function Search({ q, error }: { q: string; error: string }) {
  const text = useSignal(q);
  const box = useRef<HTMLInputElement>(null);
  const saving = useSignal(false);
  const timer = useRef(0);
  useEffect(() => {
    if (document.activeElement !== box.current) text.value = q;
  }, [q]);
  useEffect(() => {
    if (!query.value.has('focus')) return;
    set('focus', '');
    box.current?.focus();
  }, []);
  const ask = (v: string, at = 200) => {
    text.value = v;
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      if (v.trim() !== (query.value.get('q') ?? '')) set('from', ''); // a place in another list
      set('q', v.trim());
    }, at);
  };
  const wrong = error ? fault(error) : null;
  const views = settings.value?.views ?? [];
  return (
    <section class="search" role="search">
      <div class="searchbox">
        <Icon name="search" />
        <input ref={box} data-search data-testid="selector" type="search" aria-label="Filter of devices" spellcheck={false} autocomplete="off" placeholder="version<1.4 site:north state:trial" aria-invalid={!!wrong} aria-describedby={wrong ? 'selector-error' : 'selector-help'}
          value={text.value} onInput={(e) => ask(e.currentTarget.value)}
          onKeyDown={(e) => {
            if (e.key === 'Enter') ask(text.value, 0), document.querySelector<HTMLElement>('[role=grid]')?.focus();
            if (e.key === 'Escape') text.value ? ask('', 0) : box.current?.blur();
          }} />
        <kbd aria-hidden="true">/</kbd>
      </div>
      {wrong && (
        <p class="fault" id="selector-error" role="alert" data-testid="selector-error">
          <Icon name="problem" />
          <span>
            {wrong.column > 0 && <code>{q.slice(0, wrong.column - 1)}<mark>{q.slice(wrong.column - 1) || '␣'}</mark></code>} {wrong.text}{wrong.column > 0 && ` (column ${wrong.column})`}
          </span>
        </p>
      )}
      <div class="chips" id="selector-help">
        {terms(q).map((t) => (
          <button key={t} type="button" class="chip on" aria-label={`Take ${t} away`} onClick={() => ask(without(q, t), 0)}><code>{t}</code> <Icon name="close" /></button>
        ))}
        {quick.filter(([t]) => !terms(q).includes(t)).map(([t, name, icon]) => (
          <button key={t} type="button" class="chip" onClick={() => ask(toggled(q, t), 0)}><Icon name={icon} /> {name}</button>
        ))}
        {views.filter((v) => v.selector !== q).map((v) => (
          <a key={v.name} class="chip view" href={`/devices?q=${encodeURIComponent(v.selector)}`}>{v.name}</a>
        ))}
        {q && !wrong && may('admin') && <button type="button" class="chip" onClick={() => (saving.value = true)}>Save as view …</button>}
        <details class="grammar">
          <summary>What can I ask?</summary>
          <dl>
            {fields.map(([t, what]) => (
              <div key={t}><dt><button type="button" class="chip" onClick={() => ask(toggled(q, t), 0)}><code>{t}</code></button></dt><dd>{what}</dd></div>
            ))}
          </dl>
          <p>Terms joined by blanks must all hold; a bare word is part of an id, name or site; a minus turns a term round. The same words work in <code>slipstream-panel fleet</code>, in the API and in rollouts.</p>
        </details>
      </div>
      {saving.value && <SaveView q={q} onClose={() => (saving.value = false)} />}
    </section>
  );
}

function SaveView({ q, onClose }: { q: string; onClose: () => void }) {
  const name = useSignal('');
  const save = async () => {
    const s = settings.value!;
    const views = [...s.views.filter((v) => v.name !== name.value), { name: name.value.trim(), selector: q }];
    settings.value = await call<Settings>('PUT', 'settings', { ...s, views }, { rev: s.rev });
    toast('good', `The view ${name.value} is there for everybody.`);
    onClose();
  };
  return (
    <Dialog title="Save as view" onClose={onClose}>
      <div class="form">
        <p><code>{q}</code></p>
        <Text label="Name" value={name.value} set={(v) => (name.value = v)} maxLength={60} />
        <div class="buttons"><Button kind="main" denied={name.value.trim() ? '' : 'It needs a name.'} onClick={save}>Save</Button></div>
      </div>
    </Dialog>
  );
}

const idsAtMost = 64; // values in one term

function Bulk({ rows, q }: { rows: Rows; q: string }) {
  const ids = selected.value;
  const n = everything.value ? rows.total.value : ids.size;
  if (!n) return null;
  const tooMany = !everything.value && ids.size > idsAtMost ? `Up to ${idsAtMost} devices are named one by one; filter for what they have in common and select all that match.` : '';
  const selector = everything.value ? q : 'id:' + [...ids].map(quoted).join(',');
  const clear = () => {
    selected.value = new Set();
    everything.value = false;
  };
  return (
    <section class="bulk" aria-label="Selection" data-testid="bulk">
      <b>{count(n)} selected</b>
      {everything.value ? <span>all that meet the filter</span> : rows.total.value > ids.size && (
        <Button testid="select-all" onClick={() => (everything.value = true)}>Select all {count(rows.total.value)} {q ? 'matching' : ''}</Button>
      )}
      <Button kind="main" testid="bulk-rollout" denied={may('releaser') ? tooMany : 'Your role may not start rollouts.'} onClick={() => go('/rollouts/new?q=' + encodeURIComponent(selector))}>Roll out …</Button>
      <Button onClick={clear}>Clear</Button>
    </section>
  );
}
