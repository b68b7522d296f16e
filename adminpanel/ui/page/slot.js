// Slot shows one of a device's two slots.

import { attr, clone, parts, text } from './dom.js';
import { when } from './words.js';

export const STATE_ICONS = new Set(['empty', 'staging', 'staged', 'trial', 'permanent', 'previous', 'reverted']);

export class Slot {
  #el;

  constructor(name) {
    this.name = name;
    this.root = clone('slot');
    this.#el = parts(this.root);
    text(this.#el.title, 'Slot ' + name);
    attr(this.root, 'data-testid', 'slot-' + name);
    attr(this.#el.state, 'data-testid', `slot-${name}-state`);
    attr(this.#el.version, 'data-testid', `slot-${name}-version`);
    attr(this.#el.shown, 'data-testid', `slot-${name}-shown`);
  }

  // show takes the device's status, null if it never gave one. What only holds
  // for the moment is left out of the word of a device that is away.
  show(status, online) {
    const slot = ((status && status.slots) || []).find((s) => s.name === this.name);
    const state = slot ? slot.state : 'empty';
    attr(this.root, 'data-state', state);
    text(this.#el.version, (slot && slot.version) || '–');
    text(this.#el.state, slot ? state : status ? 'empty' : 'unknown');
    attr(this.root.querySelector('.state use'), 'href', '#i-' + (STATE_ICONS.has(state) ? state : 'empty'));
    this.#el.shown.hidden = !online || !slot || onScreen(status) !== this.name;
    text(this.#el.app, online && state !== 'empty' ? app(slot) : '');
  }
}

function app(slot) {
  const restarts = slot.restarts ? `restarted ${slot.restarts === 1 ? 'once' : slot.restarts + ' times'}` : '';
  const lastExit = slot.lastExit ? ['last end', when(slot.lastExitAt)].filter(Boolean).join(' ') + ': ' + slot.lastExit : '';
  return [slot.app && 'app ' + slot.app, slot.status, restarts, lastExit].filter(Boolean).join(' · ');
}

// onScreen names the slot whose pictures viewers see, '' if it cannot be told.
// The streams' version decides; only when both slots run that very version does
// it go by whether the trial took over.
export function onScreen(status) {
  const versions = new Set((status.streams || []).map((s) => s.version).filter(Boolean));
  const running = (status.slots || []).filter((s) => (s.state === 'permanent' || s.state === 'trial') && versions.has(s.version));
  const tookOver = Boolean(status.trial && status.trial.tookOver);
  const best = running.find((s) => (s.state === 'trial') === tookOver) || running[0];
  return best ? best.name : '';
}
