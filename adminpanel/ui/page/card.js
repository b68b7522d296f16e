// Card shows one device. It is made once and then changed in place.

import { attr, bar, clone, icon, make, parts, sign, text } from './dom.js';
import { ago, bytes, cause, date, outcome, seconds, sentence, when } from './words.js';
import { Countdown } from './countdown.js';
import { Picker } from './picker.js';
import { STATE_ICONS, Slot } from './slot.js';
import { Tile, problem } from './tile.js';

const BUSY = { staging: 'a package is being staged', starting: 'a version is starting', trial: 'a trial is under way', committing: 'a version is becoming permanent', reverting: 'a version is being reverted' };
const VERBS = ['stage', 'activate', 'greenlight', 'revert'];

export class Card {
  #el;
  #slots = [];
  #device;
  #arrived = 0; // when it came
  #picker;
  #shown; // the release that was chosen last
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
    this.#slots = ['a', 'b'].map((name) => new Slot(name));
    this.#el.slots.append(...this.#slots.map((slot) => slot.root));
    this.#picker = new Picker(this.#el.release, this.#el.pick);
    this.tile = new Tile(device.id, this.#el);
    for (const verb of VERBS) this.#el[verb].addEventListener('click', () => this.#ask(verb));
    this.#el.release.addEventListener('change', () => this.#update());
    this.#el.force.addEventListener('change', () => this.#update());
    this.#el.history.addEventListener('toggle', () => this.#loadHistory());
    this.show(device);
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
    attr(this.root, 'data-online', device.online);
    this.#showAge(performance.now());
    this.#showProblems(status.problems || []);
    for (const slot of this.#slots) slot.show(device.status, device.online);
    this.#showStream(status.streams || []);
    this.#showTrial(status);
    this.#showLast(status.last, Boolean(status.trial) || status.phase === 'starting');
    this.#showAsked();
    this.#update();
  }

  // showAge says that what is shown is an old word, and how old. The age is the
  // panel's: no two clocks are compared.
  #showAge(now) {
    const { online, status, statusAgeMs, version } = this.#device;
    this.#el.stale.hidden = online || !(status || version);
    if (this.#el.stale.hidden) return;
    const words = status ? `offline; this is what it said ${ago(statusAgeMs + now - this.#arrived)}` : `offline; its permanent version was ${version} when it was last here`;
    sign(this.#el.stale, 'offline', 'offline', words);
  }

  #showProblems(problems) {
    const key = problems.join('\n');
    this.#el.problems.hidden = !problems.length;
    if (this.#el.problems.dataset.key === key) return;
    this.#el.problems.dataset.key = key;
    this.#el.problems.replaceChildren(...problems.map((words) => {
      const item = make('li');
      item.append(icon('warn'), make('span', '', sentence(words)));
      return item;
    }));
  }

  #showStream(streams) {
    const main = streams.find((s) => s.name === 'main') || streams[0];
    const { online } = this.#device;
    const viewers = main && online ? (main.viewers === 1 ? '1 viewer' : `${main.viewers} viewers`) : '';
    text(this.#el.stream, main ? [main.name, main.version, viewers].filter(Boolean).join(' · ') : '');
    this.tile.offer(main ? main.name : null, online);
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
    text(this.#el.silence, committing ? '' : trial.from ? `Without a greenlight by then, ${trial.from} comes back by itself.` : 'Without a greenlight by then, it is taken back; nothing was running before.');
    const over = Boolean(trial.tookOver);
    this.#need('need-picture', over, over ? `viewers see ${trial.version}` : trial.from ? `starting; viewers see ${trial.from}` : 'starting; nothing was running before');
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
    if (asked && asked.id !== this.#asked.id) this.#asked = { id: asked.id, before: this.#lastSeen, trial: this.#trialID };
    const silent = !this.#problem && (!asked || (asked.done && (asked.exit === 0 || this.#outcomeSays(asked) || this.#over(asked))));
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

  get #trialID() {
    const { trial } = this.#device.status || {};
    return trial ? trial.id : '';
  }

  // over tells whether an ask was about something before the trial under way.
  #over(asked) {
    const trial = this.#trialID;
    return Boolean(trial) && (asked.kind === 'stage' || asked.kind === 'activate' || this.#asked.trial !== trial);
  }

  // offer takes the panel's releases; those for other products are left out.
  offer(releases) {
    this.#picker.offer(releases);
    this.#update();
  }

  // want moves the choice to a release, if it suits the device.
  want(id) {
    this.#picker.want(id);
    this.#update();
  }

  // update sets the picker and the buttons, and says why one is disabled.
  #update() {
    const marks = this.#marks();
    this.#picker.update(this.#device, marks);
    const status = this.#device.status;
    const busy = !this.#device.online ? 'no updates while the device is offline' : !status ? 'the device has not reported yet' : BUSY[status.phase];
    const { chosen } = this.#picker;
    const staged = this.#staged();
    if (chosen !== this.#shown) this.#el.force.checked = false; // it was said about another version
    this.#shown = chosen;
    const [ofChosen, ofStaged] = [chosen, staged].map((v) => v && marks.get(v.digest));
    this.#el['force-row'].hidden = ![ofChosen, ofStaged].includes('reverted');
    const against = this.#against(chosen, ofChosen);
    this.#el.stage.hidden = !chosen;
    this.#el.stage.disabled = Boolean(busy || against);
    this.#el.activate.disabled = Boolean(busy) || !staged;
    text(this.#el.stage, chosen ? 'Stage ' + chosen.version : 'Stage');
    text(this.#el.activate, staged ? 'Activate ' + staged.version : 'Activate');
    const staging = status && status.staging;
    this.#el.staging.hidden = !staging;
    if (staging) bar(this.#el.staging, staging.done / staging.total);
    const progress = staging ? `staging ${staging.version}: ${bytes(staging.done)} of ${bytes(staging.total)}` : '';
    text(this.#el.hint, progress || busy || against || (staged ? '' : 'nothing is staged yet'));
  }

  // against says why the chosen release cannot be staged, '' if it can.
  #against(chosen, mark) {
    if (!chosen) return this.#picker.nothing;
    if (mark === 'permanent') return `${chosen.version} is permanent already`;
    if (mark === 'reverted' && !this.#el.force.checked) return `${chosen.version} was reverted before`;
    return '';
  }

  // marks names the versions about which something is known, by their digest.
  #marks() {
    const { slots, last } = this.#device.status || {};
    const marks = new Map();
    // A refusal for this reason names one that no slot holds any more.
    if (last && last.digest && (last.outcome === 'reverted' || last.reason === 'reverted')) marks.set(last.digest, 'reverted');
    for (const { digest, state } of slots || []) {
      if (digest && (state === 'permanent' || state === 'reverted')) marks.set(digest, state);
    }
    return marks;
  }

  #staged() {
    const { slots } = this.#device.status || {};
    return (slots || []).find((s) => s.state === 'staged');
  }

  // insists tells whether a version is to be installed though it was reverted.
  // Who insisted when it was staged need not say so again to activate it.
  #insists(verb) {
    const checked = !this.#el['force-row'].hidden && this.#el.force.checked;
    if (verb === 'stage' && checked) this.#insisted.add(this.#picker.chosen.digest);
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
    this.#showAge(now);
    if (this.#el.trial.hidden) return;
    const left = this.#remaining.left(now);
    text(this.#el.left, left > 0 ? seconds(left) : this.#device.online ? 'deciding' : 'over by now');
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
  item.append(make('small', '', [date(r.time), cause(r)].filter(Boolean).join(' · ')));
  return item;
}
