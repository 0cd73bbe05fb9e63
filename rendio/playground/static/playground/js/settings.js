// The settings of a model, as the catalogue states them: a row of choices, a number, a text.
import { byId, h } from "./dom.js";
import { named, t } from "./texts.js";

let onChange = () => {};
let rules = {};
let values = {};

export const listen = (listener) => { onChange = listener; };

export const chosen = () => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ""));

/** `wanted` are values to begin with, where the model has them. */
export function show(model, wanted = {}) {
  rules = model.settings;
  values = Object.fromEntries(
    Object.entries(rules).map(([name, rule]) => [name, rule.allowed.includes(wanted[name]) ? wanted[name] : rule.default]));
  const optional = Object.entries(model.optional_settings ?? {});
  for (const [name] of optional) values[name] = wanted[name] ?? "";
  byId("settings").replaceChildren(
    ...Object.entries(rules).map(([name, rule]) => choices(name, rule)),
    ...optional.map(([name, rule]) => ("max_length" in rule ? text(name, rule) : number(name, rule))));
}

function choices(name, rule) {
  if (rule.allowed.length === 1) {
    return h("p", { class: "setting fixed" }, h("span", {}, `${named("setting", name)}: ${shown(name, rule.default)}`));
  }
  return h("fieldset", { class: "setting" },
    h("legend", {}, named("setting", name)),
    h("div", { class: "segments" }, rule.allowed.map((value) =>
      h("label", {},
        h("input", {
          type: "radio", name: `setting-${name}`, value: String(value), checked: value === values[name],
          onchange: () => { values[name] = value; onChange(); },
        }),
        h("span", {}, shown(name, value))))));
}

const shown = (name, value) => (name === "duration" ? t("seconds", { count: value }) : named("value", value));

function number(name, rule) {
  const input = h("input", {
    type: "number", id: `setting-${name}`, min: rule.minimum, max: rule.maximum, step: 1, inputmode: "numeric",
    placeholder: t("any"), value: values[name],
    oninput: () => { values[name] = input.value === "" ? "" : Number(input.value); onChange(); },
  });
  const roll = () => {
    input.value = Math.floor(Math.random() * Math.min(rule.maximum, 999_999));
    input.dispatchEvent(new Event("input"));
  };
  return h("div", { class: "setting" }, h("label", { for: input.id }, named("setting", name)),
    h("div", { class: "joined" }, input, h("button", { type: "button", onclick: roll }, t("roll"))));
}

function text(name, rule) {
  const input = h("input", {
    id: `setting-${name}`, maxlength: rule.max_length, value: values[name],
    oninput: () => { values[name] = input.value.trim(); onChange(); },
  });
  return h("div", { class: "setting" }, h("label", { for: input.id }, named("setting", name)), input);
}
