// Tile is a picture with what one must know of it. Its video element is made once.

import { useEffect, useRef, useState } from 'preact/hooks';
import { Icon, State } from './icons';
import { Player } from './player';
import type { Device } from './view';
import { duration } from './words';

// choose is which of a device's pictures is shown: the first of these that it has, or else
// any. Of one that is away or has nothing to say yet nothing is known.
function choose(device: Device, wanted: string[]): string {
  const has = device.streams ?? [];
  return wanted.find((name) => has.includes(name)) ?? has[0] ?? '';
}

export function Tile({ device, wanted, caption = true }: { device: Device; wanted: string[]; caption?: boolean }) {
  // What plays goes on though the device says nothing for a while, as in an update of its programs.
  const last = useRef('');
  last.current = choose(device, wanted) || last.current;
  const stream = last.current || 'main';
  const box = useRef<HTMLElement>(null);
  const video = useRef<HTMLVideoElement>(null);
  const [player, setPlayer] = useState<Player | null>(null);
  useEffect(() => {
    const p = new Player(device.id, stream, video.current!);
    setPlayer(p);
    let onScreen = false;
    const decide = () => p.want(onScreen && document.visibilityState === 'visible');
    const seen = new IntersectionObserver((entries) => {
      onScreen = entries.at(-1)!.isIntersecting;
      decide();
    });
    seen.observe(box.current!);
    document.addEventListener('visibilitychange', decide);
    return () => {
      seen.disconnect();
      document.removeEventListener('visibilitychange', decide);
      p.close();
    };
  }, [device.id, stream]);
  useEffect(() => {
    if (device.online) player?.kick();
  }, [device.online, player]);

  const state = player?.state.value ?? 'idle';
  const gap = player?.gap.value ?? null;
  const worstTone = gap === null ? 'soft' : gap > 500 ? 'bad' : gap > 150 ? 'wait' : 'good';
  return (
    <figure class="tile" ref={box} data-state={state} data-device={device.id} data-stream={stream} data-testid="tile">
      <div class="screen">
        <video ref={video} muted autoplay playsInline aria-label={`Live picture of ${device.name || device.id}`} />
        <Veil state={state} still={player?.still.value ?? 0} words={player?.words.value ?? ''} online={device.online} />
        {caption && device.state !== 'ready' && device.state !== 'offline' && <span class="corner"><State state={device.state} /></span>}
      </div>
      <figcaption>
        {caption && <a href={`/devices/${encodeURIComponent(device.id)}`}>{device.name || device.id}</a>}
        <span class="chipset"><b>{device.running || '–'}</b>{device.slot && <span class="slotname">{device.slot}</span>}</span>
        <span class="figures">
          <span title="Pictures a second">{player?.rate.value ?? 0} fps</span>
          <span class={`gap tone-${worstTone}`} title="The longest time between two pictures on this screen, in the last minute">
            worst gap <b data-testid="gap">{gap === null ? '–' : duration(gap)}</b>
          </span>
        </span>
      </figcaption>
    </figure>
  );
}

function Veil({ state, still, words, online }: { state: string; still: number; words: string; online: boolean }) {
  if (state === 'playing') return null;
  const said = state === 'stalled' ? 'The picture stands still' : state === 'reconnecting' ? 'Reconnecting' : state === 'connecting' ? 'Connecting' : 'Not playing';
  return (
    <div class="veil" data-testid="veil">
      <p><Icon name={state === 'stalled' ? 'problem' : online ? 'trial' : 'offline'} /> {said}</p>
      {still > 0 && <p class="timer">{(still / 1000).toFixed(1)} s</p>}
      {!online && <p>The device is away.</p>}
      {online && words && <p>{words}</p>}
    </div>
  );
}
