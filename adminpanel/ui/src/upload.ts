// Uploader sends a package in pieces. When it breaks off, also by a reload, the same file
// goes on where the panel says that it stopped.

import { signal } from '@preact/signals';
import { get, post, Problem, raw, why } from './api';
import type { Release, Upload } from './view';

const piece = 4 << 20;
const tries = 8;

export class Uploader {
  readonly state = signal<'idle' | 'sending' | 'waiting' | 'verifying' | 'done'>('idle');
  readonly name = signal('');
  readonly offset = signal(0);
  readonly size = signal(0);
  readonly rate = signal(0); // bytes a second
  readonly error = signal('');
  #abort = new AbortController();

  // send tells whether the release is there.
  async send(file: File): Promise<boolean> {
    this.#abort.abort();
    const abort = (this.#abort = new AbortController());
    this.error.value = '';
    this.name.value = file.name;
    this.size.value = file.size;
    this.state.value = 'sending';
    const key = `upload:${file.name}:${file.size}:${file.lastModified}`;
    try {
      const up = await this.#begin(file, key);
      await this.#pieces(file, up, abort.signal);
      this.state.value = 'verifying';
      await post<Release>(`uploads/${encodeURIComponent(up.id)}/finish`, {}, { signal: abort.signal });
      localStorage.removeItem(key);
      this.state.value = 'done';
      return true;
    } catch (err) {
      this.state.value = 'idle';
      if (!abort.signal.aborted) this.error.value = why(err);
      // What the panel has refused is refused again; only what broke off can go on.
      if (err instanceof Problem && err.status >= 400 && err.status < 500) localStorage.removeItem(key);
      return false;
    }
  }

  stop(): void {
    this.#abort.abort();
    this.state.value = 'idle';
  }

  async #begin(file: File, key: string): Promise<Upload> {
    const old = localStorage.getItem(key);
    if (old) {
      const up = await get<Upload>('uploads/' + encodeURIComponent(old)).catch(() => null);
      if (up && up.size === file.size) return up;
    }
    const up = await post<Upload>('uploads', { name: file.name, size: file.size });
    localStorage.setItem(key, up.id);
    return up;
  }

  async #pieces(file: File, up: Upload, signal: AbortSignal): Promise<void> {
    const began = performance.now();
    const from = up.offset;
    let failed = 0;
    this.offset.value = up.offset;
    while (this.offset.value < file.size) {
      const at = this.offset.value;
      try {
        const resp = await raw('uploads/' + encodeURIComponent(up.id), 'PATCH', file.slice(at, at + piece), {
          signal, headers: { 'Upload-Offset': String(at), 'Content-Type': 'application/offset+octet-stream' },
        });
        this.offset.value = ((await resp.json()) as Upload).offset;
        failed = 0;
        this.state.value = 'sending';
        this.rate.value = ((this.offset.value - from) * 1000) / (performance.now() - began);
      } catch (err) {
        const lasting = err instanceof Problem && err.status >= 400 && err.status < 500 && err.status !== 409;
        if (signal.aborted || lasting || ++failed > tries) throw err;
        this.state.value = 'waiting';
        await new Promise((r) => setTimeout(r, Math.min(10_000, 500 * 2 ** failed)));
        const now = await get<Upload>('uploads/' + encodeURIComponent(up.id), { signal }).catch(() => null);
        if (now) this.offset.value = now.offset;
      }
    }
  }
}
