// The panel's releases: the list, and adding a package.

import { attr, icon, make, text } from './dom.js';
import { bytes, sentence } from './words.js';

export class Releases {
  #el;
  #added;

  // added is told the id of each release that this page brought.
  constructor(el, added) {
    this.#el = el;
    this.#added = added;
    el.upload.addEventListener('change', () => this.#upload());
  }

  show(list) {
    this.#el['no-releases'].hidden = list.length > 0;
    this.#el.releases.replaceChildren(...list.map(item));
  }

  // XMLHttpRequest, because fetch tells nothing about the progress of an upload.
  #upload() {
    const file = this.#el.upload.files[0];
    if (!file) return;
    const send = new XMLHttpRequest();
    send.open('POST', '/api/releases');
    send.responseType = 'json';
    send.upload.onprogress = (e) => this.#say('', `${file.name}: ${bytes(e.loaded)} of ${bytes(e.total)}`);
    send.onerror = () => this.#say('bad', 'The panel could not be reached.');
    send.onload = () => this.#done(file, send);
    send.send(file);
    this.#el.upload.value = ''; // the same file may be chosen again
  }

  #done(file, sent) {
    const answer = sent.response || {};
    if (sent.status === 201 || sent.status === 200) this.#added(answer.id);
    if (sent.status === 201) this.#say('', `${answer.version} was added.`);
    else if (sent.status === 200) this.#say('', `${answer.version} was here already.`);
    else this.#say('bad', `${file.name} was refused: ${sentence(answer.detail || 'the panel answered ' + sent.status)}`);
  }

  #say(state, words) {
    attr(this.#el['upload-state'], 'data-state', state);
    text(this.#el['upload-state'], words);
  }
}

function item(r) {
  const li = make('li');
  const trust = make('span', 'trust');
  trust.dataset.state = r.verified ? 'good' : '';
  trust.append(icon(r.verified ? 'done' : 'open'), make('span', '', r.verified ? 'signature verified' : 'not verified here: the device decides'));
  li.append(make('b', '', r.version), make('span', 'size', bytes(r.size)));
  li.append(make('span', '', `${r.product} · ${r.hardware.join(', ')}`));
  li.append(trust);
  if (r.notes) li.append(make('span', 'trust', r.notes));
  return li;
}
