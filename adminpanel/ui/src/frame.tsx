// The frame around every page: where one can go, how the panel is, and the keyboard.

import { computed, signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import { call } from './api';
import { Icon } from './icons';
import { link } from './live';
import { Dialog } from './parts';
import { go, path, query } from './router';
import { dismiss, enter, hub, me, news, toasts } from './store';
import { count } from './words';

const places: [key: string, to: string, name: string, icon: string][] = [
  ['w', '/wall', 'Wall', 'wall'],
  ['d', '/devices', 'Fleet', 'fleet'],
  ['v', '/versions', 'Versions', 'versions'],
  ['r', '/rollouts', 'Rollouts', 'rollouts'],
  ['l', '/releases', 'Releases', 'releases'],
  ['a', '/audit', 'Audit', 'audit'],
  ['s', '/settings', 'Settings', 'settings'],
];

const help = signal(false);
const menu = signal(false);
const kiosk = computed(() => path.value === '/wall' && query.value.has('kiosk'));

let led = -Infinity; // when g was pressed

function typing(e: KeyboardEvent): boolean {
  const el = e.target as HTMLElement;
  return el.isContentEditable || /^(INPUT|SELECT|TEXTAREA)$/.test(el.tagName) || !!el.closest('dialog');
}

function keys(e: KeyboardEvent): void {
  if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || typing(e)) return;
  if (performance.now() - led < 1500) {
    led = -Infinity;
    const place = places.find(([key]) => key === e.key);
    if (place) {
      e.preventDefault();
      go(place[1]);
    }
    return;
  }
  switch (e.key) {
    case 'g':
      led = performance.now();
      break;
    case '?':
      help.value = true;
      break;
    case '/': {
      const box = document.querySelector<HTMLInputElement>('[data-search]');
      if (box) box.focus(), box.select();
      else go('/devices?focus=search');
      e.preventDefault();
      break;
    }
    case 'J': {
      const box = document.querySelector<HTMLInputElement>('[data-jump]');
      if (box) e.preventDefault(), box.focus(), box.select();
      break;
    }
    case 'j':
    case 'k':
      step(e.key === 'j' ? 1 : -1);
      break;
  }
}

// step moves the focus through a page's list; tables that are longer than the page do it
// themselves.
function step(by: number): void {
  const grid = document.querySelector<HTMLElement>('#main [role=grid]');
  if (grid) return grid.focus();
  const rows = [...document.querySelectorAll<HTMLElement>('#main [data-row]')];
  if (!rows.length) return;
  const at = rows.findIndex((r) => r.contains(document.activeElement));
  rows[Math.min(rows.length - 1, Math.max(0, at + by))]?.focus();
}

export function Frame({ children }: { children: ComponentChildren }) {
  useEffect(() => {
    document.addEventListener('keydown', keys);
    return () => document.removeEventListener('keydown', keys);
  }, []);
  const here = path.value;
  useEffect(() => {
    menu.value = false;
  }, [here]);
  return (
    <div class={kiosk.value ? 'frame kiosk' : 'frame'}>
      <a class="skip" href="#main">Skip to the page</a>
      {!kiosk.value && (
        <header class="top">
          <a class="brand" href="/devices"><img src="/assets/icon.svg" alt="" width="26" height="26" /> Slipstream</a>
          <button type="button" class="quiet menu" aria-expanded={menu.value} aria-controls="nav" onClick={() => (menu.value = !menu.value)}>
            <Icon name="menu" /> Menu
          </button>
          <nav id="nav" aria-label="Pages" data-open={menu.value}>
            {places.map(([key, to, name, icon]) => (
              <a key={to} href={to} aria-current={here.startsWith(to) ? 'page' : undefined} title={`${name} (g ${key})`}>
                <Icon name={icon} /> {name}
              </a>
            ))}
          </nav>
          <Presence />
          <button type="button" class="quiet keyhelp" aria-label="Keys and help" onClick={() => (help.value = true)}><Icon name="help" /></button>
          <span class="who">{me.value?.name} <button type="button" class="quiet" onClick={leave}>Log out</button></span>
        </header>
      )}
      {link.value === 'lost' && (
        <p class="banner" role="status" data-testid="lost">
          <Icon name="problem" /> The panel does not answer. What you see is what it said last; it is brought up to date as soon as it is back.
        </p>
      )}
      <main id="main" tabIndex={-1}>{children}</main>
      <Toasts />
      <p class="unseen" role="status" aria-live="polite">{news.value}</p>
      {help.value && <Help />}
    </div>
  );
}

function Presence() {
  const h = hub.value;
  const words = { live: 'live', connecting: 'connecting', lost: 'not live' }[link.value];
  return (
    <p class={`presence tone-${link.value === 'live' ? 'good' : link.value === 'lost' ? 'bad' : 'soft'}`} data-testid="live" data-state={link.value}>
      <Icon name={link.value} /> <span>{words}</span>
      {h && <span class="linked">{count(h.linked)} of {count(h.devices)} devices here</span>}
    </p>
  );
}

async function leave(): Promise<void> {
  await call('DELETE', 'sessions/current').catch(() => {});
  await enter();
}

function Toasts() {
  return (
    <div class="toasts" role="log" aria-live="polite" aria-label="Answers">
      {toasts.value.map((t) => (
        <p key={t.id} class={`toast tone-${t.tone}`}>
          <Icon name={t.tone === 'bad' ? 'problem' : t.tone === 'good' ? 'ready' : 'next'} />
          <span>{t.text}</span>
          <button type="button" class="quiet" aria-label="Dismiss" onClick={() => dismiss(t.id)}><Icon name="close" /></button>
        </p>
      ))}
    </div>
  );
}

const hints: [string, string][] = [
  ['/', 'search'],
  ['j  k', 'next, previous row'],
  ['J', 'jump to a name or a place of a long list'],
  ['x', 'select the row'],
  ['X', 'select what is on the screen'],
  ['Enter', 'open it'],
  ['Esc', 'close, give up a selection'],
  ...places.map(([key, , name]): [string, string] => [`g ${key}`, name]),
  ['?', 'this help'],
];

function Help() {
  return (
    <Dialog title="Keys" onClose={() => (help.value = false)}>
      <dl class="keys">
        {hints.map(([key, what]) => (
          <div key={key}>
            <dt>{key.split(/\s+/).map((k) => <kbd key={k}>{k}</kbd>)}</dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
