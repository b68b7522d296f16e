// The device table: as long as the fleet, with as many rows in the page as the screen
// shows. The grid keeps the focus itself and names the active row, so that rows may come
// and go without anybody losing their place.

import { useSignal, type Signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { State } from '../icons';
import { Ago, Fault, Nothing } from '../parts';
import { go, query, set } from '../router';
import type { Rows } from '../rows';
import type { Device } from '../view';

const ahead = 12; // rows beyond the screen
const tall = () => (matchMedia('(max-width: 44rem)').matches ? 64 : 40);

interface Props {
  rows: Rows;
  selected: Signal<ReadonlySet<string>>;
  everything: Signal<boolean>;
}

export function Table({ rows, selected, everything }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const view = useSignal({ from: 0, to: 40, height: tall() });
  const active = useSignal(Number(query.value.get('row') ?? 0));
  const list = rows.list.value;
  const total = rows.total.value;
  const first = rows.first.value;

  const measure = () => {
    const el = box.current;
    if (!el) return;
    const height = tall();
    const from = Math.max(0, Math.floor(el.scrollTop / height) - ahead);
    const to = Math.ceil((el.scrollTop + el.clientHeight) / height) + ahead;
    const old = view.peek();
    if (old.from !== from || old.to !== to || old.height !== height) view.value = { from, to, height };
    if (to >= rows.list.peek().length) void rows.more();
  };
  useEffect(() => {
    const seen = new ResizeObserver(measure);
    seen.observe(box.current!);
    return () => seen.disconnect();
  }, [rows]);
  useEffect(measure, [list.length]);
  const shownRows = useRef(rows);
  useEffect(() => {
    if (shownRows.current !== rows) active.value = 0; // another list
    shownRows.current = rows;
  }, [rows]);

  const move = (to: number) => {
    const at = Math.max(0, Math.min(list.length - 1, to));
    active.value = at;
    const el = box.current!;
    const { height } = view.value;
    if (at * height < el.scrollTop) el.scrollTop = at * height;
    else if ((at + 2) * height > el.scrollTop + el.clientHeight) el.scrollTop = (at + 2) * height - el.clientHeight;
  };
  const toggle = (id: string) => {
    const next = new Set(everything.value ? [] : selected.value);
    if (!next.delete(id)) next.add(id);
    everything.value = false;
    selected.value = next;
  };
  // The page of a list without pages is what the screen shows.
  const onScreen = () => {
    const el = box.current!;
    const { height } = view.value;
    const first = Math.ceil(el.scrollTop / height);
    return list.slice(first, first + Math.max(1, Math.floor(el.clientHeight / height) - 1)).map((d) => d.value.id);
  };
  const togglePage = () => {
    const ids = onScreen();
    const next = new Set(everything.value ? [] : selected.value);
    const all = ids.every((id) => next.has(id));
    for (const id of ids) all ? next.delete(id) : next.add(id);
    everything.value = false;
    selected.value = next;
  };
  const screenful = () => Math.max(1, Math.floor(box.current!.clientHeight / view.value.height) - 2);
  const open = (at: number) => {
    set('row', at ? String(at) : '');
    go('/devices/' + encodeURIComponent(list[at]!.value.id));
  };
  const keys = (e: KeyboardEvent) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const at = active.value;
    switch (e.key) {
      case 'j': case 'ArrowDown': move(at + 1); break;
      case 'k': case 'ArrowUp': move(at - 1); break;
      case 'PageDown': move(at + screenful()); break;
      case 'PageUp': move(at - screenful()); break;
      case 'Home': move(0); break;
      case 'End': move(list.length - 1); break;
      case 'X': togglePage(); break;
      case 'x': case ' ': list[at] && toggle(list[at].value.id); break;
      case 'Enter': list[at] && open(at); break;
      case 'Escape': selected.value = new Set(); everything.value = false; break;
      default: return;
    }
    e.preventDefault();
  };

  const { from, to, height } = view.value;
  const shown = list.slice(from, to);
  const at = Math.min(active.value, list.length - 1);
  const visible = at >= from && at < to && list.length > 0;
  return (
    <>
      <div class="grid" ref={box} role="grid" tabIndex={0} aria-label="Devices" aria-multiselectable="true" aria-rowcount={total + 1} aria-colcount={8} aria-activedescendant={visible ? `row-${at}` : undefined} data-testid="grid" onScroll={measure} onKeyDown={keys}>
        <div class="gridhead" role="rowgroup">
          <div class="grow" role="row" aria-rowindex={1}>
            {['Selected', 'Device', 'Site', 'Running', 'Staged', 'State', 'Seen', 'Tags'].map((name, i) => (
              <span key={name} role="columnheader" class={`c${i}`}>{i ? name : (
                <button type="button" class="quiet" tabIndex={-1} title="Select what is on the screen (X)" data-testid="select-page" onClick={togglePage}><i class="tick" aria-hidden="true" /><span class="unseen">{name}: what is on the screen</span></button>
              )}</span>
            ))}
          </div>
        </div>
        <div class="gridbody" role="rowgroup" style={{ height: `${list.length * height}px` }}>
          {shown.map((d, i) => (
            <Row key={d.value.id} device={d} at={from + i} place={first + from + i} height={height} active={from + i === at}
              on={everything.value || selected.value.has(d.value.id)} onOpen={open} onToggle={toggle} onPoint={(n) => (active.value = n)} />
          ))}
        </div>
      </div>
      {!rows.loading.value && !list.length && (rows.error.value ? !/column/.test(rows.error.value) && <Fault text={rows.error.value} retry={() => rows.more()} /> : !rows.from && (
        <Nothing>{rows.q ? 'No device meets this filter.' : <>No device is enrolled yet. <a href="/setup">Enrol the first one</a></>}</Nothing>
      ))}
    </>
  );
}

interface RowProps {
  device: Signal<Device>;
  at: number;
  place: number; // among all devices of the list, from 1
  height: number;
  active: boolean;
  on: boolean;
  onOpen: (at: number) => void;
  onToggle: (id: string) => void;
  onPoint: (at: number) => void;
}

function Row({ device, at, place, height, active, on, onOpen, onToggle, onPoint }: RowProps) {
  const d = device.value;
  return (
    <div id={`row-${at}`} class="grow" role="row" aria-rowindex={place + 1} aria-selected={on} data-active={active} data-id={d.id} style={{ transform: `translateY(${at * height}px)` }} onClick={() => onPoint(at)} onDblClick={() => onOpen(at)}>
      <span role="gridcell" class="c0" onClick={(e) => (e.stopPropagation(), onPoint(at), onToggle(d.id))}>
        <i class="tick" aria-hidden="true" data-on={on} />
        <span class="unseen">{on ? 'selected' : 'not selected'}</span>
      </span>
      <span role="gridcell" class="c1"><a href={`/devices/${encodeURIComponent(d.id)}`} tabIndex={-1}>{d.name || d.id}</a>{d.name && <small>{d.id}</small>}</span>
      <span role="gridcell" class="c2">{d.site}</span>
      <span role="gridcell" class={d.stale ? 'c3 past' : 'c3'}><b>{d.running || '–'}</b>{d.slot && <span class="slotname">{d.slot}</span>}{d.stale && <small>last heard</small>}</span>
      <span role="gridcell" class="c4">{d.staged}</span>
      <span role="gridcell" class="c5"><State state={d.state} word={d.state === 'offline' ? 'away' : undefined} /></span>
      <span role="gridcell" class="c6">{d.online ? 'now' : <Ago time={d.lastSeen} />}</span>
      <span role="gridcell" class="c7">{d.tags.slice(0, 3).map((t) => <span key={t} class="tag">{t}</span>)}{d.tags.length > 3 && `+${d.tags.length - 3}`}</span>
    </div>
  );
}
