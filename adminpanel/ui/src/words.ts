// What the panel knows, in words for people.

// One phrase for each cause that agent and forwarder know.
const reasons: Record<string, string> = {
  exit: 'its app ended',
  oom: 'its app came to its limit of memory',
  crashing: 'its app kept ending',
  eof: 'its app closed the stream',
  stall: 'its pictures stopped',
  media: 'its stream was not the one its package declares',
  start: 'its app did not start, or was not on screen in time',
  watchdog: 'its app no longer answered the watchdog',
  deadline: 'nobody gave it the greenlight in time',
  lease: 'the agent was gone just before it became permanent',
  operator: 'an operator took it back',
  power: 'the device lost power or was restarted during the trial',
  boot: 'the new system did not start',
  rehearsal: 'it was a rehearsal, and all of it went as it must',
  agent: 'the agent was restarted and the trial was gone',
  forwarder: 'the program that carries the pictures was restarted',
  record: 'the device could not write down that it is permanent',
  damaged: 'its slot did not hold what was staged',
  orders: 'the agent no longer named this trial',
  refused: 'the device did not take the package',
  silence: 'nothing was heard of its trial in time',
  'no word on the revert': 'it was asked to go back, and has not said that it has',
  'left the fleet': 'it is no longer one of the fleet',
};

export function reason(code = ''): string {
  return code.startsWith('invariant:') ? 'it broke the invariant ' + code.slice(10) : (reasons[code] ?? code);
}

// Why a login at the identity provider was refused, by the words of the panel.
const refusals: Record<string, string> = {
  'login-lost': 'This login was not begun in this browser, or too long ago. Begin again.',
  'not-vouched': 'Your organisation did not log you in. Begin again, or ask who runs its login.',
  'no-group': 'You are in no group that may use this panel. Ask who runs your organisation’s login.',
  'name-taken': 'The panel knows somebody else by your name. Ask an administrator to delete that account if it is yours.',
  disabled: 'Your account may not log in. Ask an administrator.',
  provider: 'Your organisation’s login does not answer as it should. Try again, or log in with a name and a password.',
  'too-many': 'There were too many logins from here. Wait a little, and begin again.',
  'not-set-up': 'This panel knows no organisation. Log in with a name and a password.',
};

export function refusal(word: string): string {
  return refusals[word] ?? 'The login has failed. Try again; the panel’s log says why.';
}

export function sentence(s: string): string {
  const t = s.trim();
  return t && t[0]!.toUpperCase() + t.slice(1) + (/[.!?…]$/.test(t) ? '' : '.');
}

export function duration(ms: number): string {
  if (ms < 10) return ms.toFixed(1) + ' ms';
  if (ms < 1000) return Math.round(ms) + ' ms';
  if (ms < 10_000) return (ms / 1000).toFixed(1) + ' s';
  if (ms < 90_000) return Math.round(ms / 1000) + ' s';
  const minutes = Math.round(ms / 60_000);
  if (minutes < 90) return minutes + ' min';
  const hours = Math.round(ms / 3_600_000);
  return hours < 48 ? hours + ' h' : Math.round(hours / 24) + ' days';
}

// countdown counts whole seconds, the last one included.
export function countdown(ms: number): string {
  const s = Math.max(0, Math.ceil(ms / 1000));
  return s < 60 ? `${s} s` : `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')} min`;
}

export function bytes(n: number): string {
  for (const unit of ['B', 'KB', 'MB']) {
    if (n < 1000) return (n < 10 && unit !== 'B' ? n.toFixed(1) : Math.round(n)) + ' ' + unit;
    n /= 1000;
  }
  return n.toFixed(1) + ' GB';
}

export function known(time?: string): boolean {
  return !!time && new Date(time).getTime() > 0;
}

export function ago(time: string | undefined, now: number): string {
  if (!known(time)) return 'never';
  const s = Math.max(0, Math.floor((now - new Date(time!).getTime()) / 1000));
  if (s < 5) return 'now';
  if (s < 60) return s + ' s ago';
  if (s < 3600) return Math.floor(s / 60) + ' min ago';
  if (s < 48 * 3600) return Math.floor(s / 3600) + ' h ago';
  return Math.floor(s / 86400) + ' days ago';
}

export function date(time?: string): string {
  return known(time) ? new Date(time!).toLocaleString([], { day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }) : '';
}

export function clock(time?: string, seconds = true): string {
  return known(time) ? new Date(time!).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', ...(seconds ? { second: '2-digit' } : {}), hourCycle: 'h23' }) : '';
}

export const count = (n: number) => n.toLocaleString('en');

export function devices(n: number): string {
  return `${count(n)} ${n === 1 ? 'device' : 'devices'}`;
}

export const percent = (part: number, whole: number) => (whole ? (100 * part) / whole : 0);

// What was done, in the words of the audit's page; what is not here is shown as it is.
const deeds: Record<string, string> = {
  'account.add': 'added', 'account.change': 'changed', 'account.password': 'set the password of', 'account.remove': 'removed', 'account.setup': 'made the first account,',
  'session.open': 'logged in as', 'session.end': 'logged out as', 'token.add': 'made', 'token.remove': 'revoked',
  'device.enrol': 'enrolled', 'device.patch': 'changed', 'device.revoke': 'revoked', 'device.stage': 'staged a release on', 'device.activate': 'activated', 'device.confirm': 'confirmed', 'device.revert': 'reverted', 'device.cancel': 'cancelled the staging of',
  'enrolment.add': 'made', 'enrolment.remove': 'revoked', 'release.add': 'added', 'release.order': 'signed an order for', 'release.refuse': 'was refused', 'release.withdraw': 'withdrew', 'release.restore': 'brought back',
  'settings.set': 'changed the settings', 'upload.begin': 'began', 'upload.drop': 'dropped', 'panel.backup': 'took a backup',
  'rollout.create': 'planned', 'rollout.start': 'started', 'rollout.approve': 'approved', 'rollout.pause': 'paused', 'rollout.resume': 'resumed', 'rollout.abort': 'aborted', 'rollout.abort-revert': 'aborted and reverted', 'rollout.retry': 'retried the failed of', 'rollout.skip-wave': 'skipped a wave of', 'rollout.confirm': 'confirmed the trials of', 'rollout.note': '',
};

export const deed = (action: string) => deeds[action] ?? action;

// A release's name ends with its version, which is shown beside it anyway.
export function bare(r: { name: string; version: string }): string {
  return r.name.endsWith('-' + r.version) ? r.name.slice(0, -r.version.length - 1) : r.name;
}

// quoted is a value for a selector.
export function quoted(value: string): string {
  return /[\s,"]/.test(value) ? `"${value.replaceAll('"', '')}"` : value;
}
