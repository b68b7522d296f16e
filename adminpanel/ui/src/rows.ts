// The device list's window on the fleet: pages are fetched as people scroll, rows change
// in place as devices do, and nothing that happens moves a row under somebody's hand.

import { batch, signal, type Signal } from '@preact/signals';
import { get, why } from './api';
import { listen } from './live';
import type { Device, Devices } from './view';

const page = 200;

export class Rows {
  readonly list = signal<Signal<Device>[]>([]);
  readonly total = signal(0);
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

  constructor(readonly q: string) {
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
      for (let after = ''; seen.size < known; ) {
        const ask = new URLSearchParams({ q: this.q, after, limit: String(page) });
        const got = await get<Devices>('devices?' + ask, { signal: this.#abort.signal });
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
    const ask = new URLSearchParams({ q: this.q, after: this.#after, limit: String(page) });
    try {
      const got = await get<Devices>('devices?' + ask, { signal: this.#abort.signal });
      batch(() => {
        const fresh = got.devices.map((d) => signal(d));
        for (const s of fresh) this.#byID.set(s.value.id, s);
        this.list.value = [...this.list.value, ...fresh];
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
