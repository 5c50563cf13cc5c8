// Draws what was found: masks, boxes, names and scores, in the colours of draw_predictions.py.

const OPACITY = 115; // of masks, of 255

// A bright colour [red, green, blue]; neighbouring numbers get very different ones.
export function colorOf(number) {
  const hue = ((0.02 + number * 0.61803398875) % 1) * 6;
  const value = [1, 0.85][Math.floor(number / 5) % 2];
  const channel = (shift) => {
    const k = (shift + hue) % 6;
    return Math.round(255 * value * (1 - 0.85 * Math.max(0, Math.min(k, 4 - k, 1))));
  };
  return [channel(5), channel(3), channel(1)];
}

// Lengths of the runs of COCO's compressed code: differences to the run before the last, 5 bits a character.
export function runsOf(counts) {
  const runs = [];
  for (let place = 0; place < counts.length; ) {
    let value = 0, shift = 0, bits;
    do {
      bits = counts.charCodeAt(place++) - 48;
      value |= (bits & 31) << shift;
      shift += 5;
    } while (bits & 32);
    if (bits & 16) value |= -1 << shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
}

function paintMask(layer, width, height, counts, color) {
  const paint = new Uint32Array(new Uint8Array([...color, OPACITY]).buffer)[0];
  let place = 0, inside = false;
  for (const run of runsOf(counts)) {
    // Runs go down the columns.
    if (inside) for (let i = place; i < place + run; i++) layer[(i % height) * width + Math.floor(i / height)] = paint;
    place += run;
    inside = !inside;
  }
}

// The objects of at least a score, each with its colour, best first.
export function shownObjects(entry, threshold) {
  return entry.predictions
    .map((found, place) => ({ found, color: colorOf("mask" in found ? place : found.class.label) }))
    .filter(({ found }) => found.score >= threshold);
}

// picture: what drawImage takes, or null where the browser cannot show the image.
export function draw(canvas, picture, entry, objects) {
  const { width, height } = entry;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.fillStyle = "#444";
  context.fillRect(0, 0, width, height);
  if (picture) context.drawImage(picture, 0, 0, width, height);
  const worstFirst = [...objects].reverse();
  if (objects.some(({ found }) => found.mask)) {
    const pixels = new ImageData(width, height);
    const layer = new Uint32Array(pixels.data.buffer);
    for (const { found, color } of worstFirst) paintMask(layer, width, height, found.mask.counts, color);
    const above = new OffscreenCanvas(width, height);
    above.getContext("2d").putImageData(pixels, 0, 0);
    context.drawImage(above, 0, 0);
  }
  const size = Math.max(12, Math.max(width, height) / 45);
  context.font = `${size}px system-ui, sans-serif`;
  context.lineWidth = Math.max(2, Math.max(width, height) / 300);
  context.textBaseline = "top";
  for (const { found, color } of worstFirst) {
    const box = found.bbox;
    context.strokeStyle = context.fillStyle = `rgb(${color})`;
    context.strokeRect(box.x_min, box.y_min, box.width, box.height);
    const text = `${found.class.name} ${found.score.toFixed(2)}`;
    const top = Math.max(0, box.y_min - size * 1.2);
    context.fillRect(box.x_min, top, context.measureText(text).width + size / 2, size * 1.2);
    context.fillStyle = "black";
    context.fillText(text, box.x_min + size / 4, top + size * 0.1);
  }
}
