// The device list's window on the fleet: pages are fetched as people scroll, rows change
// in place as devices do, and nothing that happens moves a row under somebody's hand.

import { batch, signal, type Signal } from '@preact/signals';
import { get, why } from './api';
import { listen } from './live';
import type { Device, Devices } from './view';

export const page = 200;

export class Rows {
  readonly list = signal<Signal<Device>[]>([]);
  readonly total = signal(0);
  readonly first = signal(1); // place of the first row among all
  readonly error = signal('');
  readonly loading = signal(true);
  readonly changed = signal(false); // devices came or went since
  #byID = new Map<string, Signal<Device>>();
  #after = '';
  #ended = false;
  #abort = new AbortController();
  #stop: () => void;
  #heard = new Map<string, Device>();
  #frame = 0;

  // The list begins at an id or what ids begin with, at a place ("#5000"), or with the first.
  constructor(readonly q: string, readonly from = '') {
    this.#stop = listen('devices', (e) => {
      if (e.kind === 'resync') void this.#again();
      else if (e.kind !== 'device' || !('id' in e) || !e.id) this.changed.value = true;
      else if (e.deleted || !this.#byID.has(e.id)) this.changed.value ||= this.#ended || !!e.deleted;
      else if (e.data) {
        this.#heard.set(e.id, e.data as Device);
        this.#frame ||= requestAnimationFrame(() => this.#apply());
      }
    });
    void this.more();
  }

  #ask(place: Record<string, string>): Promise<Devices> {
    return get<Devices>('devices?' + new URLSearchParams({ q: this.q, ...place, limit: String(page) }), { signal: this.#abort.signal });
  }

  #begin(): Record<string, string> {
    const number = /^#(\d+)$/.exec(this.from)?.[1];
    return number ? { at: String(Math.max(1, +number)) } : this.from ? { from: this.from } : {};
  }

  #apply(): void {
    this.#frame = 0;
    batch(() => {
      for (const [id, d] of this.#heard) this.#byID.get(id)!.value = d;
    });
    this.#heard.clear();
  }

  // again looks at all rows once more, for changes that nobody has told: in place, and
  // where other devices are there by now, it only says so.
  async #again(): Promise<void> {
    const known = this.list.peek().length;
    const seen = new Set<string>();
    try {
      const first = this.from && this.list.peek()[0]?.peek().id;
      let place: Record<string, string> = first ? { from: first } : {};
      for (let after = ''; seen.size < known; place = { after }) {
        const got = await this.#ask(place);
        batch(() => {
          for (const d of got.devices) {
            seen.add(d.id);
            const row = this.#byID.get(d.id);
            if (row) row.value = d;
            else if (seen.size <= known) this.changed.value = true;
          }
          this.changed.value ||= got.total !== this.total.value;
        });
        after = got.after ?? '';
        if (!after) break;
      }
    } catch (err) {
      if (!this.#abort.signal.aborted) this.error.value = why(err);
    }
  }

  #busy = false;
  async more(): Promise<void> {
    if (this.#busy || this.#ended) return;
    this.#busy = true;
    try {
      const got = await this.#ask(this.#after ? { after: this.#after } : this.#begin());
      batch(() => {
        const fresh = got.devices.map((d) => signal(d));
        for (const s of fresh) this.#byID.set(s.value.id, s);
        this.list.value = [...this.list.value, ...fresh];
        if (!this.#after) this.first.value = got.first;
        this.total.value = got.total;
        this.error.value = '';
      });
      this.#after = got.after ?? '';
      this.#ended = !this.#after;
    } catch (err) {
      if (!this.#abort.signal.aborted) this.error.value = why(err);
    } finally {
      this.#busy = false;
      this.loading.value = false;
    }
  }

  close(): void {
    this.#stop();
    this.#abort.abort();
    cancelAnimationFrame(this.#frame);
  }
}
