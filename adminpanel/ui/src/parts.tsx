// Parts that several pages are made of.

import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';
import { why } from './api';
import { Icon } from './icons';
import { now, toast } from './store';
import { ago, count, date } from './words';

export function Page({ title, about, actions, children }: { title: ComponentChildren; about?: ComponentChildren; actions?: ComponentChildren; children: ComponentChildren }) {
  useEffect(() => {
    document.title = (typeof title === 'string' ? title + ' · ' : '') + 'Slipstream';
  }, [title]);
  return (
    <>
      <header class="head">
        <h1 tabIndex={-1}>{title}</h1>
        {about && <div class="about">{about}</div>}
        {actions && <div class="buttons">{actions}</div>}
      </header>
      {children}
    </>
  );
}

export function Ago({ time }: { time?: string }) {
  return <time title={date(time)}>{ago(time, now.value)}</time>;
}

export function Fault({ text, retry }: { text: string; retry?: () => void }) {
  if (!text) return null;
  return (
    <p class="fault" role="alert">
      <Icon name="problem" />
      <span>{text}</span>
      {retry && <button onClick={retry}>Try again</button>}
    </p>
  );
}

export function Nothing({ children }: { children: ComponentChildren }) {
  return <div class="nothing">{children}</div>;
}

// Wait is shown for what is not there yet; a glimpse of it would only flicker.
export function Wait() {
  return <p class="waiting" role="status">Loading …</p>;
}

interface ButtonProps {
  children: ComponentChildren;
  onClick: () => unknown;
  kind?: 'main' | 'bad' | 'plain';
  denied?: string;
  testid?: string;
}

// Button asks for something. It stays focusable when it cannot be pressed, so that its
// reason can be read; while it waits for the answer it cannot be pressed twice.
export function Button({ children, onClick, kind = 'plain', denied, testid }: ButtonProps) {
  const busy = useSignal(false);
  const id = useId();
  const press = async () => {
    if (denied || busy.value) return;
    busy.value = true;
    try {
      await onClick();
    } catch (err) {
      toast('bad', why(err));
    } finally {
      busy.value = false;
    }
  };
  return (
    <span class="press">
      <button type="button" class={kind} aria-disabled={!!denied || busy.value} aria-describedby={denied ? id : undefined} title={denied} data-testid={testid} onClick={press}>
        {children}
        {busy.value && ' …'}
      </button>
      {denied && <span id={id} class="denied">{denied}</span>}
    </span>
  );
}

export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    ref.current!.showModal();
    return () => before?.focus?.();
  }, []);
  return (
    <dialog ref={ref} aria-labelledby={id} onClose={onClose} onClick={(e) => e.target === ref.current && onClose()}>
      <div class="box">
        <header>
          <h2 id={id}>{title}</h2>
          <button type="button" class="quiet" aria-label="Close" onClick={onClose}><Icon name="close" /></button>
        </header>
        {children}
      </div>
    </dialog>
  );
}

// Confirm asks to type the number of devices that something concerns.
export function Confirm({ title, expect, word, children, onClose, onYes }: { title: string; expect: number; word: string; children?: ComponentChildren; onClose: () => void; onYes: (why: string) => Promise<unknown> }) {
  const typed = useSignal('');
  const reason = useSignal('');
  const error = useSignal('');
  const right = typed.value.replace(/[\s,.]/g, '') === String(expect);
  const submit = async (e: Event) => {
    e.preventDefault();
    if (!right) {
      error.value = `Type ${count(expect)} to go on.`;
      return;
    }
    try {
      await onYes(reason.value);
      onClose();
    } catch (err) {
      error.value = why(err);
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form onSubmit={submit} class="form">
        {children}
        <Field label={`Type the number of devices it concerns: ${count(expect)}`}>
          <input autofocus inputMode="numeric" autocomplete="off" data-testid="confirm-count" value={typed.value} onInput={(e) => (typed.value = e.currentTarget.value)} />
        </Field>
        <Field label="Why (kept in the audit)">
          <input maxLength={400} value={reason.value} onInput={(e) => (reason.value = e.currentTarget.value)} />
        </Field>
        <Fault text={error.value} />
        <div class="buttons">
          <button type="submit" class="bad" aria-disabled={!right} data-testid="confirm-yes">{word}</button>
          <button type="button" onClick={onClose}>Leave it</button>
        </div>
      </form>
    </Dialog>
  );
}

export function Field({ label, hint, children }: { label: string; hint?: string; children: ComponentChildren }) {
  return (
    <label class="field">
      <span>{label}</span>
      {children}
      {hint && <small>{hint}</small>}
    </label>
  );
}

export function Text({ label, hint, value, set, ...rest }: { label: string; hint?: string; value: string; set: (v: string) => void; type?: string; autocomplete?: string; required?: boolean; maxLength?: number; testid?: string; inputMode?: 'numeric'; placeholder?: string }) {
  const { testid, ...attrs } = rest;
  return (
    <Field label={label} hint={hint}>
      <input {...(attrs as object)} data-testid={testid} value={value} onInput={(e) => set(e.currentTarget.value)} />
    </Field>
  );
}

// Secret is shown once, to be copied.
export function Secret({ label, text }: { label: string; text: string }) {
  return (
    <div class="secret" role="status">
      <p>{label}</p>
      <code data-testid="secret">{text}</code>
      <Button onClick={() => navigator.clipboard.writeText(text).then(() => toast('good', 'Copied.'))}>Copy</Button>
    </div>
  );
}

// Stack is a bar of parts, each with its word for those who do not see it. What has gone
// well grows from one end and what has not from the other, each towards its mark.
export function Stack({ parts, whole, marks = [], label }: { parts: { name: string; n: number; tone: string; last?: boolean }[]; whole: number; marks?: { at: number; name: string; tone: string }[]; label: string }) {
  const said = parts.filter((p) => p.n).map((p) => `${count(p.n)} ${p.name}`).join(', ');
  const bar = (last: boolean) => parts.map((p) => !!p.last === last && p.n > 0 && <i key={p.name} class={`fill-${p.tone}`} style={{ flexGrow: p.n }} title={`${count(p.n)} ${p.name}`} />);
  const rest = Math.max(0, whole - parts.reduce((s, p) => s + p.n, 0));
  return (
    <div class="stack" role="img" aria-label={[`${label}: ${said || 'nothing yet'}`, ...marks.map((m) => m.name)].join('; ')}>
      <div class="fills">
        {bar(false)}
        {rest > 0 && <i class="rest" style={{ flexGrow: rest }} />}
        {bar(true)}
      </div>
      {marks.map((m) => <b key={m.name} class={`mark ${m.tone}`} title={m.name} style={{ insetInlineStart: `${m.at}%` }} />)}
    </div>
  );
}
