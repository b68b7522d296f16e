// Picker is a device's choice of a release, with what speaks against each.

import { make, text } from './dom.js';

export class Picker {
  #select;
  #row;
  #all = []; // the panel's releases
  #suiting = [];
  #wanted = null; // a release that was just added on this page

  constructor(select, row) {
    this.#select = select;
    this.#row = row;
  }

  offer(releases) { this.#all = releases; }

  // want moves the choice to a release, as soon as it is offered.
  want(id) { this.#wanted = id; }

  get chosen() { return this.#suiting.find((r) => r.id === this.#select.value); }

  // update lists what suits the device; marks names versions by their digest.
  update(device, marks) {
    this.#suiting = this.#all.filter((r) => suits(r, device));
    this.#row.hidden = !this.#suiting.length;
    this.#fill(marks);
    this.#suiting.forEach((r, i) => {
      const notes = [marks.get(r.digest), r.verified ? '' : 'not verified here'].filter(Boolean).join(', ');
      text(this.#select.options[i], r.version + (notes ? ` (${notes})` : ''));
    });
  }

  // fill touches the list only when it is another one: it may be open.
  #fill(marks) {
    const key = this.#suiting.map((r) => r.id).join();
    const fresh = this.#suiting.find((r) => r.id === this.#wanted);
    if (this.#select.dataset.key !== key) {
      const before = this.#select.value;
      this.#select.dataset.key = key;
      this.#select.replaceChildren(...this.#suiting.map((r) => Object.assign(make('option'), { value: r.id })));
      const kept = this.#suiting.find((r) => r.id === before) || this.#suiting.find((r) => !marks.has(r.digest)) || this.#suiting[0];
      if (kept) this.#select.value = kept.id;
    }
    if (!fresh) return;
    this.#select.value = fresh.id;
    this.#wanted = null;
  }

  // nothing says why there is nothing to choose.
  get nothing() { return this.#all.length ? 'no release suits this device' : 'add a package below'; }
}

function suits(release, { product, hardware }) {
  return (!product || release.product === product) && (!hardware || release.hardware.includes(hardware));
}
