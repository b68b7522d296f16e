// What the pages share: who is looking, the fleet's settings, the time, and what to say.

import { effect, signal } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { useSignal, type Signal } from '@preact/signals';
import { get, Problem, why } from './api';
import { listen, type Heard } from './live';
import type { Hub, Me, Settings, Setup } from './view';
import { refusal } from './words';

export const me = signal<Me | null>(null);
export const settings = signal<Settings | null>(null);
export const setup = signal<Setup | null>(null);
export const hub = signal<Hub | null>(null);
export const phase = signal<'loading' | 'login' | 'setup' | 'in'>('loading');
export const now = signal(Date.now());
setInterval(() => (now.value = Date.now()), 1000);

// News is read out by screen readers, at most once a second, the newest words only.
export const news = signal('');
let waiting = '';
let timer = 0;
export function say(text: string): void {
  waiting = text;
  timer ||= setTimeout(() => {
    timer = 0;
    news.value = waiting;
  }, 1000);
}

// A toast is the answer to something that a person did.
export interface Toast {
  id: number;
  tone: 'good' | 'bad' | 'plain';
  text: string;
}
export const toasts = signal<Toast[]>([]);
let toastID = 0;
export function toast(tone: Toast['tone'], text: string): void {
  const t = { id: ++toastID, tone, text };
  toasts.value = [...toasts.value.slice(-3), t];
  setTimeout(() => dismiss(t.id), tone === 'bad' ? 12_000 : 6000);
}
export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((t) => t.id !== id);
}

const rank = ['viewer', 'operator', 'releaser', 'admin'];
export function may(role: string): boolean {
  return !!me.value?.grants.some((g) => rank.indexOf(g.role) >= rank.indexOf(role));
}

// Why a browser came back from the identity provider without a login, once.
export const refused = signal(takeRefusal());
function takeRefusal(): string {
  const at = new URL(location.href);
  const word = at.searchParams.get('refused');
  if (word === null) return '';
  at.searchParams.delete('refused');
  history.replaceState(history.state, '', at);
  return refusal(word);
}
effect(() => {
  if (phase.value !== 'in' || !refused.peek()) return;
  toast('bad', refused.peek()); // of somebody who was logged in all the time
  refused.value = '';
});

// enter finds out who we are, and so which page comes first.
export async function enter(): Promise<void> {
  try {
    const all = await Promise.all([get<Me>('me'), get<Settings>('settings'), get<Setup>('setup'), get<Hub>('hub')]);
    [me.value, settings.value, setup.value, hub.value] = all;
    phase.value = 'in';
  } catch (err) {
    if (!(err instanceof Problem) || err.status !== 401) {
      toast('bad', why(err));
      setTimeout(() => phase.value === 'loading' && enter(), 2000);
      return;
    }
    me.value = null;
    setup.value = await get<Setup>('setup').catch(() => null);
    phase.value = setup.value && !setup.value.admin ? 'setup' : 'login';
  }
}

effect(() => {
  if (phase.value !== 'in') return;
  return listen('hub', (e) => {
    if (e.kind === 'hub' && e.data) hub.value = e.data as Hub;
  });
});

// Loaded is something from the API that stays current.
export interface Loaded<T> {
  value: Signal<T | null>;
  error: Signal<string>;
  reload: () => void;
}

// useLoaded fetches a path, keeps it current by a topic's events, and fetches again when
// the panel says that events were missed. What is shown stays until the new is there.
export function useLoaded<T>(path: string, topic = '', merge?: (old: T, e: Heard) => T | null): Loaded<T> {
  const value = useSignal<T | null>(null);
  const error = useSignal('');
  const box = useMemo(() => ({ turn: 0, reload: () => {} }), []);
  useEffect(() => {
    const mine = ++box.turn;
    let late = 0;
    value.value = null;
    error.value = '';
    box.reload = () => {
      if (!path) return;
      get<T>(path).then(
        (v) => mine === box.turn && ((value.value = v), (error.value = '')),
        (err) => mine === box.turn && (error.value = why(err)),
      );
    };
    box.reload();
    const stop = topic
      ? listen(topic, (e) => {
          const next = e.kind !== 'resync' && value.value && merge ? merge(value.value, e) : null;
          if (next) value.value = next;
          // Many changes at a time are worth one more look, not many.
          else late ||= setTimeout(() => ((late = 0), box.reload()), 300);
        })
      : () => {};
    return () => {
      stop();
      clearTimeout(late);
    };
  }, [path, topic]);
  return { value, error, reload: () => box.reload() };
}
