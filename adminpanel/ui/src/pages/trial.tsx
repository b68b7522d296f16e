import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { State } from '../icons';
import { say } from '../store';
import type { Status, Trial, Verdict } from '../view';
import { countdown } from '../words';

interface Props {
  trial: Trial;
  status: Status;
  ageMs: number;
  receivedAt: number;
  online: boolean;
}

// TrialBox counts down to the greenlight by the device's clock: what it said was left,
// less the age of that word, less what has passed here since it came. The clock of this
// machine is not asked what time it is, only how long something took.
export function TrialBox({ trial, status, ageMs, receivedAt, online }: Props) {
  const at = useSignal(performance.now());
  useEffect(() => {
    const timer = setInterval(() => (at.value = performance.now()), 250);
    return () => clearInterval(timer);
  }, []);
  const passed = ageMs + (at.value - receivedAt);
  const left = Math.max(0, trial.remainingMs - passed);
  const soak = Math.max(0, trial.soakMs - passed);
  const whole = trial.remainingMs + Math.max(0, new Date(status.time).getTime() - new Date(trial.started).getTime());
  const near = Math.ceil(left / 10_000);
  useEffect(() => {
    if (left < 60_000 && !trial.latched) say(`${countdown(left)} left for the greenlight`);
  }, [near < 7 ? near : 7]);
  return (
    <section class="card trial" data-testid="trial" aria-labelledby="trial-title">
      <Ring part={whole ? left / whole : 0} text={countdown(left)} />
      <div>
        <h2 id="trial-title">{trial.version} is on trial{trial.rehearsal && ' (a rehearsal)'}</h2>
        <p class="soft">
          {trial.latched ? 'The greenlight was given; it becomes permanent when its soak is over.' : left > 0 ? `Without a greenlight ${trial.from || 'the version before'} comes back.` : 'The time is over; the device decides now.'}
        </p>
        {!online && <p class="soft">The device is away and goes on by itself.</p>}
        <ul class="verdicts">
          <li><State state={trial.latched ? 'ready' : 'empty'} word="greenlight" /> <span class="soft">{trial.latched ? 'given' : `waits for ${trial.greenlight}`}</span></li>
          <li><State state={soak > 0 ? 'empty' : 'ready'} word="soak" /> <span class="soft">{soak > 0 ? `${countdown(soak)} to go` : 'done'}</span></li>
          {trial.verdicts?.map((v) => <Line key={(v.stream ?? '') + v.invariant} v={v} passed={passed} />)}
        </ul>
      </div>
    </section>
  );
}

// Line says how an invariant stands, and since when by the device's clock. Agents of before do
// not say since when.
function Line({ v, passed }: { v: Verdict; passed: number }) {
  const state = !v.judged ? 'unknown' : v.holds ? 'ready' : 'failed';
  const bound = [v.min !== undefined && `at least ${v.min}`, v.max !== undefined && `at most ${v.max}`].filter(Boolean).join(', ');
  const since = v.sinceMs ? ` for ${countdown(v.sinceMs + passed - 999)}` : '';
  return (
    <li data-testid="verdict" data-verdict={state}>
      <State state={state} word={(v.stream ? v.stream + ' ' : '') + v.invariant} />
      <span class="soft">{v.judged ? `${v.holds ? 'holds' : 'broken'}${since}: ${v.measure} ${+v.value.toFixed(2)}${bound && `, ${bound}`}` : `not known yet${since}`}{!v.required && ' (only noted)'}{v.detail && ` · ${v.detail}`}</span>
    </li>
  );
}

function Ring({ part, text }: { part: number; text: string }) {
  const around = 2 * Math.PI * 42;
  return (
    <div class="ring" role="timer" aria-label="Time left for the greenlight" data-testid="countdown" data-left={text}>
      <svg viewBox="0 0 100 100" aria-hidden="true">
        <circle cx="50" cy="50" r="42" class="track" />
        <circle cx="50" cy="50" r="42" class="part" stroke-dasharray={String(around)} stroke-dashoffset={String(around * (1 - part))} />
      </svg>
      <b>{text}</b>
    </div>
  );
}
