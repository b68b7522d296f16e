// A pulse: one line for each picture of the last seconds, its height the time
// since the picture before. A steady stream is an even comb; a gap stands out.

const SPAN = 8000; // ms shown
const TALL = 200; // ms that fill the height

export function drawPulse(canvas, meter, now) {
  const scale = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * scale);
  const height = Math.round(canvas.clientHeight * scale);
  if (!width || !height) return;
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const ctx = canvas.getContext('2d');
  ctx.clearRect(0, 0, width, height);
  ctx.fillStyle = getComputedStyle(canvas).color;
  for (const frame of meter.frames(now - SPAN)) {
    const x = ((frame.at - now + SPAN) / SPAN) * width;
    const tall = Math.max(0.08, Math.min(1, frame.gap / TALL)) * height;
    ctx.globalAlpha = frame.gap > TALL / 2 ? 1 : 0.55;
    ctx.fillRect(x, height - tall, Math.max(1, scale), tall);
  }
}
