// What can be ordered, and the choice of a model.
import * as api from "./api.js";
import { byId, h } from "./dom.js";
import * as store from "./store.js";
import { named, onLanguage, t } from "./texts.js";

// Kinds that the page has the inputs for, in the order in which it shows them.
const KINDS = {
  video: ["text-to-video", "image-to-video", "keyframes-to-video"],
  image: ["text-to-image", "image-edit", "inpaint", "upscale"],
};
const INPUTS = ["prompt", "image_url", "mask_upload_id", "last_upload_id"];

export const mediaOf = (model) => (KINDS.image.includes(model.kind) ? "image" : "video");

export async function load() {
  const [{ models }, { themes }] = await Promise.all([api.get("get-models"), api.get("get-themes")]);
  const known = models.filter((model) =>
    [...KINDS.video, ...KINDS.image].includes(model.kind) &&
    model.required_fields.every((field) => INPUTS.includes(field)));
  store.set("themes", themes.filter((theme) => known.some((model) => model.id === theme.model_id)));
  store.set("models", known);
}

/** The first model of the media: from text alone if there is one. */
export const defaultModel = (media) =>
  store.get("models").find((model) => model.kind === KINDS[media][0]) ??
  store.get("models").find((model) => mediaOf(model) === media);

const dialog = byId("picker");
let shown = null; // {media, current, choose}

export function pickModel(media, current, choose) {
  shown = { media, current, choose };
  showList();
  dialog.showModal();
  dialog.querySelector("[aria-pressed=true]")?.focus();
}

function showList() {
  const groups = KINDS[shown.media].map((kind) => [kind, store.get("models").filter((model) => model.kind === kind)]);
  byId("picker-list").replaceChildren(
    ...groups.filter(([, models]) => models.length).map(([kind, models]) =>
      h("section", { class: "picker-kind", "aria-label": named("kind", kind) },
        h("h3", {}, named("kind", kind)),
        h("ul", {}, models.map((model) => h("li", {}, card(model)))))));
}

function card(model) {
  const choose = () => {
    dialog.close();
    shown.choose(model);
  };
  return h("button", { type: "button", "aria-pressed": String(model.id === shown.current), onclick: choose },
    h("span", { class: "picker-top" }, h("b", {}, model.name), h("span", {}, t("fromCredits", { count: model.min_credits }))),
    h("span", {}, model.description),
    model.tier && h("span", {}, t("quality", { tier: named("tier", model.tier) })));
}

onLanguage(() => dialog.open && showList());
