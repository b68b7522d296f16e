import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { call, post } from '../api';
import { Icon, State } from '../icons';
import { Ago, Button, Confirm, Fault, Nothing, Page, Wait } from '../parts';
import { may, useLoaded } from '../store';
import { Uploader } from '../upload';
import type { Release, Releases as All } from '../view';
import { bare, bytes, count, date, devices, duration, known, percent } from '../words';

export function Releases() {
  const { value, error, reload } = useLoaded<All>('releases', 'releases');
  const list = value.value?.releases;
  return (
    <Page title="Releases" about={list && `${count(list.length)} packages`}>
      <Fault text={error.value} retry={reload} />
      {may('releaser') && <Drop onDone={reload} />}
      {!list ? !error.value && <Wait /> : !list.length ? <Nothing>No release yet. A package made by <code>slipstream-pack build</code> can be added here.</Nothing> : (
        <ul class="list releases" data-testid="releases">{list.map((r) => <One key={r.id} r={r} reload={reload} />)}</ul>
      )}
    </Page>
  );
}

function Drop({ onDone }: { onDone: () => void }) {
  const up = useRef(new Uploader());
  const over = useSignal(false);
  const u = up.current;
  const take = async (file: File | undefined) => {
    if (file && (await u.send(file))) onDone();
  };
  const part = percent(u.offset.value, u.size.value);
  return (
    <section class="drop" data-over={over.value} aria-label="Add a release"
      onDragOver={(e) => (e.preventDefault(), (over.value = true))} onDragLeave={() => (over.value = false)}
      onDrop={(e) => (e.preventDefault(), (over.value = false), void take(e.dataTransfer?.files[0]))}>
      <label class="button main"><Icon name="upload" /> Add a package<input class="unseen" type="file" accept=".slip" data-testid="upload" onChange={(e) => void take(e.currentTarget.files?.[0])} /></label>
      {u.state.value === 'idle' && <span class="soft">or drop it here. It is verified before anything else, and an upload that breaks off goes on where it stopped.</span>}
      {(u.state.value === 'sending' || u.state.value === 'waiting') && (
        <span class="progress">
          <progress max={100} value={part} aria-label={`Upload of ${u.name.value}`} />
          <span>{u.name.value} · {bytes(u.offset.value)} of {bytes(u.size.value)}{u.rate.value > 0 && ` · ${duration(((u.size.value - u.offset.value) / u.rate.value) * 1000)} to go`}{u.state.value === 'waiting' && ' · waits for the panel'}</span>
          <Button onClick={() => u.stop()}>Stop</Button>
        </span>
      )}
      {u.state.value === 'verifying' && <span role="status">Verifying {u.name.value} …</span>}
      {u.state.value === 'done' && <State state="ready" word={`${u.name.value} is verified and here`} />}
      <Fault text={u.error.value} />
    </section>
  );
}

function One({ r, reload }: { r: Release; reload: () => void }) {
  const asking = useSignal(false);
  const withdraw = async () => {
    await call('DELETE', 'releases/' + encodeURIComponent(r.id));
    reload();
  };
  return (
    <li class="card release" data-row tabIndex={-1} data-withdrawn={!!r.withdrawn}>
      <header class="row">
        <h2>{bare(r)} <b>{r.version}</b></h2>
        <State state={r.withdrawn ? 'failed' : r.verified ? 'ready' : 'problem'} word={r.withdrawn ? `withdrawn by ${r.withdrawnBy}` : r.verified ? 'verified' : 'not verified'} />
        <span class="buttons">
          {r.running > 0 && <a href={'/devices?q=' + encodeURIComponent(`version:${r.version}`)}>{devices(r.running)}</a>}
          {!r.withdrawn && may('releaser') && <a class="button" href={'/rollouts/new?release=' + encodeURIComponent(r.id)}>Roll out …</a>}
          {!r.withdrawn && may('releaser') && <Button onClick={() => (asking.value = true)}>Withdraw …</Button>}
        </span>
      </header>
      <dl class="facts">
        <div><dt>For</dt><dd>{r.product} {r.hardware.join(', ')}</dd></div>
        <div><dt>Brings</dt><dd>{r.contents.map((c) => `${c.class} (${c.kind}, ${bytes(c.size)})`).join(', ')}</dd></div>
        <div><dt>Signed by</dt><dd>{r.signers.map((s) => <code key={s} title={s}>{s.slice(0, 16)}</code>)}</dd></div>
        <div><dt>Public log</dt><dd data-testid="logged">{r.logged?.length ? r.logged.map((e) => <span key={e.log + e.index}>entry {e.index} of <code title={e.log}>{e.log.slice(0, 16)}</code>{known(e.time) && <> · <Ago time={e.time!} /></>} </span>) : 'none: no public log has its signatures'}</dd></div>
        <div><dt>Digest</dt><dd><code title={r.digest}>{r.digest.slice(0, 24)}…</code></dd></div>
        <div><dt>Counter</dt><dd>{r.counter}, epoch {r.epoch}</dd></div>
        <div><dt>Added</dt><dd><Ago time={r.uploadedAt} /> by {r.uploadedBy} · {bytes(r.size)}</dd></div>
        <div><dt>Fleet order</dt><dd>{r.order ? <>{r.order.devices}{r.order.until && ` until ${date(r.order.until)}`} · <a href={`/api/v1/releases/${encodeURIComponent(r.id)}/order?with=package`} download>for a USB stick</a></> : may('releaser') && !r.withdrawn ? <Button onClick={async () => (await post(`releases/${encodeURIComponent(r.id)}/order`, { selector: '' }), reload())}>Sign for all devices</Button> : 'none'}</dd></div>
      </dl>
      {asking.value && <Confirm title={`Withdraw ${bare(r)} ${r.version}?`} word="Withdraw" expect={r.running} onClose={() => (asking.value = false)} onYes={withdraw}><p>Nobody can stage it any more. {devices(r.running)} that run it keep it.</p></Confirm>}
    </li>
  );
}
