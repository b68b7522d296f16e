// Card shows one device. It is made once and then changed in place.

import { attr, bar, clone, icon, make, parts, sign, text } from './dom.js';
import { bytes, cause, outcome, seconds, sentence, when } from './words.js';
import { Countdown } from './countdown.js';
import { Tile, problem } from './tile.js';

const STATE_ICONS = new Set(['empty', 'staging', 'staged', 'trial', 'permanent', 'previous', 'reverted']);
const BUSY = { staging: 'a package is being staged', starting: 'a version is starting', trial: 'a trial is under way', committing: 'a version is becoming permanent', reverting: 'a version is being reverted' };
const VERBS = ['stage', 'activate', 'greenlight', 'revert'];

export class Card {
  #el;
  #slots = {};
  #device;
  #arrived = 0; // when it came
  #releases = [];
  #remaining = new Countdown();
  #soak = new Countdown();
  #trialMs = 0;
  #lastSeen = ''; // which outcome was told already
  #problem = ''; // why the panel did not pass an ask on
  #insisted = new Set(); // digests that were staged although they were reverted
  #asked = {}; // the ask shown, and which outcome was the last one then
  tile;

  constructor(device, news) {
    this.root = clone('card');
    this.id = device.id;
    this.news = news;
    this.#el = parts(this.root);
    attr(this.root, 'data-testid', 'device-' + device.id);
    attr(this.root, 'aria-label', device.id);
    text(this.#el.name, device.id);
    for (const name of ['a', 'b']) this.#addSlot(name);
    this.tile = new Tile(device.id, this.#el);
    for (const verb of VERBS) this.#el[verb].addEventListener('click', () => this.#ask(verb));
    this.#el.release.addEventListener('change', () => {
      this.#el.force.checked = false; // it was said about another version
      this.#update();
    });
    this.#el.history.addEventListener('toggle', () => this.#loadHistory());
    this.show(device);
  }

  #addSlot(name) {
    const root = clone('slot');
    const el = parts(root);
    text(el.title, 'Slot ' + name);
    attr(el.state, 'data-testid', `slot-${name}-state`);
    attr(el.version, 'data-testid', `slot-${name}-version`);
    this.#slots[name] = { root, ...el };
    this.#el.slots.append(root);
  }

  get online() { return this.#device.online; }

  // show takes what the panel says about the device.
  show(device) {
    if (device !== this.#device) this.#arrived = performance.now();
    this.#device = device;
    const status = device.status || { slots: [], streams: [] };
    text(this.#el.about, [device.product, device.hardware].filter(Boolean).join(' · '));
    const seen = device.lastSeen ? 'offline since ' + when(device.lastSeen) : 'has not called yet';
    sign(this.#el.presence, device.online ? 'online' : 'offline', device.online ? 'online' : 'offline', device.online ? 'online' : seen);
    for (const name of ['a', 'b']) this.#showSlot(this.#slots[name], (status.slots || []).find((s) => s.name === name));
    this.#showStream(status.streams || []);
    this.#showTrial(status);
    this.#showLast(status.last, Boolean(status.trial));
    this.#showAsked();
    this.#update();
  }

  #showSlot(el, slot) {
    const state = slot ? slot.state : 'empty';
    attr(el.root, 'data-state', state);
    text(el.version, (slot && slot.version) || '–');
    text(el.state, slot ? state : this.#device.status ? 'empty' : 'unknown');
    attr(el.root.querySelector('use'), 'href', '#i-' + (STATE_ICONS.has(state) ? state : 'empty'));
    text(el.app, state !== 'empty' ? [slot.app && 'app ' + slot.app, slot.status].filter(Boolean).join(' · ') : '');
  }

  #showStream(streams) {
    const main = streams.find((s) => s.name === 'main') || streams[0];
    text(this.#el.stream, main ? [main.name, main.version, main.viewers === 1 ? '1 viewer' : `${main.viewers} viewers`].filter(Boolean).join(' · ') : '');
    this.tile.offer(main ? main.name : null, this.#device.online);
  }

  #showTrial(status) {
    const trial = status.trial;
    this.#swap(this.#el.update, this.#el.trial, Boolean(trial));
    const committing = status.phase === 'committing';
    const open = Boolean(trial) && this.#device.online && !committing;
    this.#el.greenlight.disabled = !open || trial.latched;
    this.#el.revert.disabled = !open;
    if (!trial) return;
    const age = this.#device.statusAgeMs;
    this.#remaining.set(trial.remainingMs, age, this.#arrived);
    this.#soak.set(trial.soakMs, age, this.#arrived);
    // Both times are the device's, so their difference is right whatever its clock.
    const elapsed = Math.max(0, new Date(status.time) - new Date(trial.started)) || 0;
    this.#trialMs = Math.max(1, elapsed + trial.remainingMs);
    text(this.#el['trial-title'], committing ? `${trial.version} is becoming permanent` : `Trial of ${trial.version}`);
    text(this.#el.silence, committing ? '' : `Without a greenlight by then, ${trial.from || 'the version before'} comes back by itself.`);
    const over = Boolean(trial.tookOver);
    this.#need('need-picture', over, over ? `viewers see ${trial.version}` : `starting; viewers see ${trial.from || 'nothing'}`);
    this.#need('need-marker', trial.latched, trial.latched ? 'greenlight marker seen' : this.#waitsFor(trial));
    this.tick(performance.now());
  }

  // swap shows one of two parts. Who was at a button of the one that goes is
  // brought to the other part, but to none of its buttons: a second press must
  // not mean something else than the first.
  #swap(usual, other, change) {
    const [show, hide] = change ? [other, usual] : [usual, other];
    const held = hide.contains(document.activeElement);
    show.hidden = false;
    hide.hidden = true;
    if (held) show.focus({ preventScroll: true });
  }

  #waitsFor(trial) {
    switch (trial.greenlight) {
      case 'operator': return 'waiting for your greenlight';
      case 'auto': return 'the agent gives the greenlight after the soak';
      default: return 'waiting for the greenlight marker of the app';
    }
  }

  #need(name, done, words) {
    sign(this.#el[name], done ? 'done' : 'open', done ? 'done' : 'open', words);
  }

  // showLast shows how the last update ended, unless the next one is under way.
  #showLast(last, trial) {
    this.#el.last.hidden = !last || trial;
    if (!last) return;
    const key = [last.time, last.to, last.outcome].join();
    if (key === this.#lastSeen) return;
    sign(this.#el.last, last.outcome, STATE_ICONS.has(last.outcome) || last.outcome === 'refused' ? last.outcome : 'open');
    text(this.#el['last-words'], outcome(last));
    text(this.#el['last-cause'], cause(last));
    const evidence = (last.evidence || []).join('\n');
    this.#el['last-evidence'].hidden = !evidence;
    text(this.#el['last-evidence'], evidence);
    if (this.#lastSeen) this.news(`${this.id}: ${outcome(last)}`);
    this.#lastSeen = key;
    this.#loadHistory();
  }

  // showAsked says that a button was pressed and what went wrong then. What went
  // well shows by itself.
  #showAsked() {
    const asked = this.#device.asked;
    if (asked && asked.id !== this.#asked.id) this.#asked = { id: asked.id, before: this.#lastSeen };
    const silent = !this.#problem && (!asked || (asked.done && (asked.exit === 0 || this.#outcomeSays(asked))));
    this.#el.asked.hidden = silent;
    if (silent) return;
    if (this.#problem) return sign(this.#el.asked, 'bad', 'warn', this.#problem);
    const what = [asked.kind, asked.version].filter(Boolean).join(' ');
    if (!asked.done) sign(this.#el.asked, 'open', 'open', `Asked to ${what}.`);
    else sign(this.#el.asked, 'bad', 'warn', sentence(asked.message || what));
  }

  // outcomeSays tells whether the last outcome came after the ask or says as much.
  #outcomeSays(asked) {
    const { last } = this.#device.status || {};
    return Boolean(last) && (this.#asked.before !== this.#lastSeen || last.detail === asked.message);
  }

  // offer takes the panel's releases; those for other products are left out.
  offer(releases) {
    this.#releases = releases;
    this.#update();
  }

  #suits(release) {
    const { product, hardware } = this.#device;
    return (!product || release.product === product) && (!hardware || release.hardware.includes(hardware));
  }

  // update sets the picker and the buttons, and says why one is disabled.
  #update() {
    this.#fillPicker(this.#releases.filter((r) => this.#suits(r)));
    const status = this.#device.status;
    const busy = !this.#device.online ? 'the device is not linked' : !status ? 'the device has not reported yet' : BUSY[status.phase];
    const chosen = this.#chosen();
    const staged = this.#staged();
    this.#el.stage.disabled = Boolean(busy) || !chosen;
    this.#el.activate.disabled = Boolean(busy) || !staged;
    text(this.#el.stage, chosen ? 'Stage ' + chosen.version : 'Stage');
    text(this.#el.activate, staged ? 'Activate ' + staged.version : 'Activate');
    this.#el['force-row'].hidden = !this.#wasReverted(chosen, staged);
    const staging = status && status.staging;
    this.#el.staging.hidden = !staging;
    if (staging) bar(this.#el.staging, staging.done / staging.total);
    const progress = staging ? `staging ${staging.version}: ${bytes(staging.done)} of ${bytes(staging.total)}` : '';
    text(this.#el.hint, progress || busy || (chosen ? (staged ? '' : 'nothing is staged yet') : 'no release suits this device'));
  }

  #fillPicker(suiting) {
    const select = this.#el.release;
    const key = suiting.map((r) => r.id).join();
    select.disabled = !suiting.length;
    if (select.dataset.key === key) return;
    select.dataset.key = key;
    const chosen = select.value;
    select.replaceChildren(...suiting.map((r) => {
      const option = make('option', '', r.version + (r.verified ? '' : ' (not verified here)'));
      option.value = r.id;
      return option;
    }));
    if (suiting.some((r) => r.id === chosen)) select.value = chosen;
  }

  #chosen() { return this.#releases.find((r) => r.id === this.#el.release.value); }

  #staged() {
    const { slots } = this.#device.status || {};
    return (slots || []).find((s) => s.state === 'staged');
  }

  #wasReverted(...versions) {
    const { slots, last } = this.#device.status || {};
    const reverted = new Set((slots || []).filter((s) => s.state === 'reverted').map((s) => s.digest));
    // A refusal for this reason names one that no slot holds any more.
    if (last && (last.outcome === 'reverted' || last.reason === 'reverted')) reverted.add(last.digest);
    return versions.some((v) => v && v.digest && reverted.has(v.digest));
  }

  // insists tells whether a version is to be installed though it was reverted.
  // Who insisted when it was staged need not say so again to activate it.
  #insists(verb) {
    const checked = !this.#el['force-row'].hidden && this.#el.force.checked;
    if (verb === 'stage' && checked) this.#insisted.add(this.#chosen().digest);
    const staged = this.#staged();
    return checked || (verb === 'activate' && Boolean(staged) && this.#insisted.has(staged.digest));
  }

  async #ask(verb) {
    const force = this.#insists(verb);
    const body = { stage: { release: this.#el.release.value, force }, activate: { force } }[verb] || {};
    this.#el[verb].disabled = true; // until the device's next word
    this.#problem = '';
    try {
      const resp = await fetch(`/api/devices/${encodeURIComponent(this.id)}/${verb}`, {
        method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
      });
      if (!resp.ok) this.#problem = sentence(await problem(resp));
    } catch {
      this.#problem = 'The panel could not be reached.';
    }
    this.show(this.#device);
  }

  async #loadHistory() {
    if (!this.#el.history.open || !this.#device.online) return;
    const resp = await fetch(`/api/devices/${encodeURIComponent(this.id)}/history`).catch(() => null);
    if (!resp || !resp.ok) return;
    const { history } = await resp.json();
    this.#el.records.replaceChildren(...history.map(record));
    if (!history.length) this.#el.records.append(make('li', '', 'No update yet.'));
  }

  // tick moves what moves by itself.
  tick(now) {
    this.tile.tick(now);
    if (this.#el.trial.hidden) return;
    const left = this.#remaining.left(now);
    text(this.#el.left, left > 0 ? seconds(left) : 'deciding');
    bar(this.#el.bar, left / this.#trialMs);
    const soak = this.#soak.left(now);
    const { tookOver } = (this.#device.status && this.#device.status.trial) || {};
    const soaked = Boolean(tookOver) && soak <= 0;
    this.#need('need-soak', soaked, soaked ? 'carried the streams long enough' : 'has to carry the streams for ' + seconds(soak) + ' more');
  }
}

function record(r) {
  const item = make('li');
  item.dataset.state = r.outcome;
  item.append(icon(STATE_ICONS.has(r.outcome) || r.outcome === 'refused' ? r.outcome : 'open'), make('span', '', outcome(r)));
  item.append(make('small', '', [when(r.time), cause(r)].filter(Boolean).join(' · ')));
  return item;
}
