// The pictures that a model needs: chosen from the computer, or drawn here for a first try.
import * as api from "./api.js";
import { byId, h, replace } from "./dom.js";
import { clearNotice, showNotice } from "./notice.js";
import { t } from "./texts.js";

const SIZE = [1024, 768];
const SLOTS = ["image_url", "mask_upload_id", "last_upload_id"];
const uploads = {}; // by slot: {upload_id, preview}
let onChange = () => {};

export const listen = (listener) => { onChange = listener; };
export const isComplete = (model) => needed(model).every((slot) => uploads[slot]);
export const forget = () => SLOTS.forEach(remove);

function remove(slot) {
  if (uploads[slot]) URL.revokeObjectURL(uploads[slot].preview);
  delete uploads[slot];
}

const needed = (model) => SLOTS.filter((slot) => model.required_fields.includes(slot));

/** The fields of an order. */
export function fields(model) {
  const names = { image_url: "upload_id" };
  return Object.fromEntries(needed(model).map((slot) => [names[slot] ?? slot, uploads[slot]?.upload_id]));
}

export function show(model) {
  replace(byId("pictures"), ...needed(model).map((slot) => picture(slot, model)));
}

function picture(slot, model) {
  const { preview } = uploads[slot] ?? {};
  const input = h("input", {
    type: "file", accept: "image/*", "data-key": `${slot}-file`,
    onchange: (event) => event.target.files[0] && send(slot, event.target.files[0], model),
  });
  return h("div", { class: "picture", role: "group", "aria-label": t(`slot-${slot}`) },
    h("div", { class: "picture-frame" }, preview ? h("img", { src: preview, alt: t("chosenPicture") }) : t("noPicture")),
    h("div", { class: "picture-words" },
      h("h3", {}, t(`slot-${slot}`)),
      slot === "mask_upload_id" && h("p", { class: "hint" }, t("maskHint")),
      h("div", { class: "picture-acts" },
        h("label", { class: "button small file" }, t("choosePicture"), input),
        h("button", { type: "button", class: "small quiet", "data-key": `${slot}-sample`, onclick: async () => send(slot, await sample(slot), model) }, t("samplePicture"))),
      h("div", { class: "notice", id: `notice-${slot}`, role: "alert" })));
}

async function send(slot, file, model) {
  const place = byId(`notice-${slot}`);
  clearNotice(place);
  try {
    const answer = await api.upload("uploads", await form(slot, file));
    remove(slot);
    // A mask is for one image.
    if (slot === "image_url") remove("mask_upload_id");
    uploads[slot] = { upload_id: answer.upload_id, preview: URL.createObjectURL(file) };
    show(model);
    onChange();
  } catch (refusal) {
    showNotice(place, refusal);
  }
}

async function form(slot, file) {
  if (slot !== "mask_upload_id") return { file };
  if (!uploads.image_url) throw new api.Refusal({ status: 0, message: t("imageFirst") });
  return { mask_of: uploads.image_url.upload_id, file };
}

/** A landscape at dawn, the same at dusk, or a mask with the sun. */
async function sample(slot) {
  const [width, height] = slot === "mask_upload_id" ? await sizeOfImage() : SIZE;
  const canvas = h("canvas", { width, height });
  const draw = canvas.getContext("2d");
  if (slot === "mask_upload_id") drawMask(draw, width, height);
  else drawLandscape(draw, width, height, slot === "last_upload_id");
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return new File([blob], `${slot.split("_")[0]}.png`, { type: "image/png" });
}

async function sizeOfImage() {
  if (!uploads.image_url) return SIZE;
  const image = new Image();
  image.src = uploads.image_url.preview;
  await image.decode();
  return [image.naturalWidth, image.naturalHeight];
}

function drawMask(draw, width, height) {
  draw.fillStyle = "#000";
  draw.fillRect(0, 0, width, height);
  draw.fillStyle = "#fff";
  draw.beginPath();
  draw.arc(width * 0.66, height * 0.34, height * 0.2, 0, 7);
  draw.fill();
}

function drawLandscape(draw, width, height, isDusk) {
  const sky = draw.createLinearGradient(0, 0, 0, height);
  const [top, bottom] = isDusk ? ["#10142b", "#7a3b5e"] : ["#5b8fb9", "#ffd9a8"];
  sky.addColorStop(0, top);
  sky.addColorStop(1, bottom);
  draw.fillStyle = sky;
  draw.fillRect(0, 0, width, height);
  draw.fillStyle = isDusk ? "#f1e9d2" : "#ff7a3c";
  draw.beginPath();
  draw.arc(width * (isDusk ? 0.3 : 0.66), height * 0.34, height * 0.11, 0, 7);
  draw.fill();
  for (const [shade, start, wave] of isDusk
    ? [["#2b2a47", 0.6, 34], ["#1d1d33", 0.72, 22], ["#101120", 0.86, 12]]
    : [["#4f7d74", 0.6, 34], ["#355f55", 0.72, 22], ["#1f4139", 0.86, 12]]) {
    draw.fillStyle = shade;
    draw.beginPath();
    draw.moveTo(0, height);
    for (let x = 0; x <= width; x += 4) {
      draw.lineTo(x, height * start + Math.sin(x / (wave * 4) + start * 9) * wave * 1.6);
    }
    draw.lineTo(width, height);
    draw.fill();
  }
}
