// One stream of events for a whole browser: the tab that holds the lock listens and
// passes on; the others would hang once six connections to one host are open.

import { signal } from '@preact/signals';
import type { Event as Change } from './view';

export type Heard = Change | { kind: 'resync'; rev: number };
type Listener = (e: Heard) => void;

export const link = signal<'connecting' | 'live' | 'lost'>('connecting');

const topics = new Map<string, Set<Listener>>(); // of this tab
const tab = crypto.randomUUID();
const others = new Map<string, { topics: string[]; at: number }>(); // of other tabs, while leading
const channel = new BroadcastChannel('slipstream-events');

let leading = false;
let source: EventSource | null = null;
let asked = '';
let lastRev = 0;
let silence = 0;

const silent = 25_000; // ms; the panel says something every 10 s

const kinds = ['device', 'rollout', 'release', 'audit', 'hub', 'resync', 'beat'];

// listen calls back for each change of a topic until the returned function is called.
export function listen(topic: string, fn: Listener): () => void {
  const set = topics.get(topic) ?? new Set();
  topics.set(topic, set.add(fn));
  changed();
  return () => {
    set.delete(fn);
    if (!set.size) topics.delete(topic);
    changed();
  };
}

let pending = 0;
function changed(): void {
  // Pages give up topics and take new ones at once; one word about it is enough.
  clearTimeout(pending);
  pending = setTimeout(() => {
    if (leading) open();
    else channel.postMessage({ from: tab, topics: [...topics.keys()] });
  });
}

function meets(topic: string, e: Heard): boolean {
  if (e.kind === 'resync' || e.kind === 'beat') return true;
  const id = 'id' in e ? e.id : '';
  return topic === e.kind || topic === e.kind + 's' || topic === `${e.kind}:${id}`;
}

function deliver(e: Heard): void {
  if (e.kind === 'beat') return;
  for (const [topic, set] of topics) if (meets(topic, e)) for (const fn of [...set]) fn(e);
}

function state(s: typeof link.value): void {
  link.value = s;
  if (leading) channel.postMessage({ from: tab, state: s });
}

function open(): void {
  const now = Date.now();
  for (const [id, o] of others) if (now - o.at > 90_000) others.delete(id);
  const all = new Set([...topics.keys(), 'hub', ...[...others.values()].flatMap((o) => o.topics)]);
  const want = [...all].sort().join(',');
  if (want === asked && source && source.readyState !== EventSource.CLOSED) return;
  asked = want;
  source?.close();
  const url = `/api/v1/events?topics=${encodeURIComponent(want)}` + (lastRev ? `&after=${lastRev}` : '');
  const es = (source = new EventSource(url));
  es.onopen = () => {
    alive(es);
    state('live');
  };
  es.onerror = () => {
    if (source !== es) return;
    state('lost');
    // A browser gives up for ever on an answer that is no stream; we do not.
    if (es.readyState === EventSource.CLOSED) setTimeout(() => source === es && open(), 1000 + Math.random() * 1000);
  };
  for (const kind of kinds) {
    es.addEventListener(kind, (m) => {
      alive(es);
      const e = JSON.parse((m as MessageEvent).data) as Heard;
      if (e.rev) lastRev = e.rev;
      deliver(e);
      channel.postMessage({ from: tab, event: e });
    });
  }
}

// alive waits for the next word; a stream that says nothing is as good as none.
function alive(es: EventSource): void {
  clearTimeout(silence);
  silence = setTimeout(() => {
    if (source !== es) return;
    state('lost');
    es.close();
    open();
  }, silent);
}

channel.onmessage = ({ data }) => {
  if (data.topics && leading) {
    others.set(data.from, { topics: data.topics, at: Date.now() });
    open();
  }
  if (leading) return;
  if (data.event) deliver(data.event);
  if (data.state) link.value = data.state;
  if (data.leader) changed();
};

// start begins to listen, or to wait until the listening tab is closed.
export function start(): void {
  setInterval(() => !leading && channel.postMessage({ from: tab, topics: [...topics.keys()] }), 30_000);
  void navigator.locks.request('slipstream-events', () => {
    leading = true;
    channel.postMessage({ from: tab, leader: true });
    open();
    return new Promise(() => {}); // until this tab goes
  });
}
