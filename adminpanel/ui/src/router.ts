// The address is the state: pages read it, and change it by going somewhere.

import { computed, signal } from '@preact/signals';

const here = signal(new URL(location.href));
window.addEventListener('popstate', () => (here.value = new URL(location.href)));

export const path = computed(() => here.value.pathname.replace(/\/+$/, '') || '/');
export const query = computed(() => here.value.searchParams);

export function go(to: string, replace = false): void {
  const url = new URL(to, location.href);
  if (url.href === here.value.href) return;
  const other = url.pathname !== here.value.pathname;
  history[replace ? 'replaceState' : 'pushState'](null, '', url);
  here.value = url;
  if (other) {
    window.scrollTo(0, 0);
    // People who hear the page are told where they are, unless they have gone on meanwhile: a
    // tab that nobody sees has its next frame when somebody comes back to it.
    const before = document.activeElement;
    requestAnimationFrame(() => {
      if ([before, document.body, null].includes(document.activeElement)) document.querySelector<HTMLElement>('#main h1')?.focus({ preventScroll: true });
    });
  }
}

// set changes one word of the query and stays on the page.
export function set(name: string, value: string, replace = true): void {
  const url = new URL(here.value);
  if (value) url.searchParams.set(name, value);
  else url.searchParams.delete(name);
  go(url.href, replace);
}

// Plain clicks on links of ours stay in the page.
document.addEventListener('click', (e) => {
  if (e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
  const a = (e.target as Element).closest('a');
  if (!a || a.target || a.hasAttribute('download') || a.origin !== location.origin || a.pathname.startsWith('/api/')) return;
  if (a.hash && a.pathname === location.pathname) return;
  e.preventDefault();
  go(a.href);
});
