import { draw, shownObjects } from "./drawing.js";

const VIDEO = /\.(mp4|avi|mov|mkv|webm|m4v|mpg|mpeg|wmv)$/i;
const PICTURE = /, "picture": "([^"]*)"\}$/;
const byId = (id) => document.getElementById(id);

// name: of the file; frames: [{text: JSON as the server sent it, entry, picture}]; json: text to save.
let shown = null;
let turn = 0; // number of the latest file: answers to earlier ones are dropped
let timer = 0;

function tell(text, isError = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("error", isError);
}

async function lineOfError(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `the server answered ${response.status}`;
  }
}

async function send(address, file) {
  const response = await fetch(address, { method: "POST", body: file });
  if (!response.ok) throw new Error(`${file.name}: ${await lineOfError(response)}`);
  return response;
}

async function pictureOf(blob) {
  try {
    return await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch {
    return null;
  }
}

function show() {
  const ready = shown !== null && shown.frames.length > 0;
  byId("save-picture").disabled = byId("save-json").disabled = !ready;
  byId("clip").hidden = !ready || !shown.isClip;
  if (!ready) return;
  const frame = shown.frames[Number(byId("frame").value)];
  const objects = shownObjects(frame.entry, Number(byId("threshold").value));
  draw(byId("picture"), frame.picture, frame.entry, objects);
  byId("objects").replaceChildren(...objects.map(({ found, color }) => {
    const item = document.createElement("li");
    const mark = document.createElement("i");
    mark.style.background = `rgb(${color})`;
    item.append(mark, `${found.class.name} ${found.score.toFixed(2)}`);
    return item;
  }));
  byId("frame-value").textContent = `${byId("frame").value} (${frame.entry.seconds} s)`;
  const place = shown.isClip ? ` in frame ${byId("frame").value} of ${shown.frames.length}` : "";
  tell(`${shown.name}: ${objects.length} of ${frame.entry.predictions.length} objects${place}${shown.note}`);
}

async function takeImage(file, mine) {
  const [response, picture] = await Promise.all([send("detect", file), pictureOf(file)]);
  const text = await response.text();
  if (mine !== turn) return;
  const note = picture === null ? "; the browser cannot show this image" : "";
  const json = `{\n${JSON.stringify(file.name)}: ${text}\n}\n`; // as infer.py writes it, digit for digit
  shown = { name: file.name, frames: [{ entry: JSON.parse(text), picture }], isClip: false, note, json };
  show();
}

async function takeFrame(line) {
  const [, code] = line.match(PICTURE);
  const bytes = Uint8Array.from(atob(code), (one) => one.charCodeAt(0));
  const text = line.replace(PICTURE, "}");
  const picture = await pictureOf(new Blob([bytes], { type: "image/jpeg" }));
  shown.frames.push({ entry: JSON.parse(text), picture });
  shown.json += `${text}\n`;
  byId("frame").max = shown.frames.length - 1;
}

async function takeClip(file, mine) {
  const response = await send("detect_video?pictures=1", file);
  if (mine !== turn) return;
  const rate = Number(response.headers.get("X-Frame-Rate"));
  const count = Number(response.headers.get("X-Frame-Count"));
  shown = { name: file.name, frames: [], isClip: true, note: "", json: "", rate };
  byId("frame").value = 0;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (mine !== turn) return void reader.cancel();
      if (line.startsWith('{"error"')) shown.note = `; ${JSON.parse(line).error}`;
      else await takeFrame(line);
      if (shown.frames.length === 1) show();
      tell(`${file.name}: ${shown.frames.length} frames${count ? ` of ${count}` : ""} ...`);
    }
  }
  if (count > shown.frames.length && !shown.note) shown.note = `; truncated: its header says ${count} frames`;
  show();
}

async function take(file) {
  if (!file) return;
  const mine = ++turn;
  stop();
  shown = null;
  show();
  tell(`${file.name} ...`);
  try {
    const isClip = file.type.startsWith("video/") || VIDEO.test(file.name);
    await (isClip ? takeClip(file, mine) : takeImage(file, mine));
  } catch (error) {
    if (mine === turn) tell(error.message, true);
  }
}

function stop() {
  clearInterval(timer);
  timer = 0;
  byId("play").textContent = "Play";
}

function play() {
  if (timer) return stop();
  byId("play").textContent = "Stop";
  timer = setInterval(() => {
    byId("frame").value = (Number(byId("frame").value) + 1) % shown.frames.length;
    show();
  }, 1000 / shown.rate);
}

function save(blob, ending) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = shown.name.replace(/\.[^.]*$/, "") + ending;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

const drop = byId("drop");
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop") take(event.dataTransfer.files[0]);
  });
}
byId("file").addEventListener("change", (event) => take(event.target.files[0]));
byId("threshold").addEventListener("input", () => {
  byId("threshold-value").textContent = Number(byId("threshold").value).toFixed(2);
  show();
});
byId("frame").addEventListener("input", show);
byId("play").addEventListener("click", play);
byId("save-picture").addEventListener("click", () => byId("picture").toBlob((blob) => save(blob, "_found.png")));
byId("save-json").addEventListener("click", () => {
  save(new Blob([shown.json], { type: "application/json" }), shown.isClip ? ".jsonl" : ".json");
});
