"use strict";
// The report's viewer: NiiVue with the scan, what the model expected, one map and its mask. `data-viewer` on <body> says how it went.
(async () => {
  const byId = (id) => document.getElementById(id);
  const state = (text) => { document.body.dataset.viewer = text; };
  if (!document.createElement("canvas").getContext("webgl2")) {
    byId("no-viewer").hidden = false;
    return state("none");
  }
  const data = JSON.parse(byId("viewer-data").textContent);
  const BELOW = 2; // layers below the map: the scan, and what the model expected, which covers it or is not seen
  const SIGNS = ["brighter", "darker"]; // the layers of the map; the outlines come last
  const CROSSHAIR = [0.35, 0.85, 1, 0.8];
  const TRANSPARENT_BELOW_MINIMUM = 2; // NiiVue 0.69 swaps the meaning of 1 and 2 for volumes: nothing below cal_min
  byId("viewer").hidden = false;
  const viewer = new niivue.Niivue({
    isRadiologicalConvention: true,
    multiplanarShowRender: niivue.SHOW_RENDER.NEVER,
    isOrientationTextVisible: true,
    crosshairColor: CROSSHAIR,
    crosshairWidth: 1,
    backColor: [0, 0, 0, 1],
    dragAndDropEnabled: false,
    dragMode: niivue.DRAG_MODE.contrast,
    loadingText: "",
    logLevel: "error",
  });
  viewer.onLocationChange = ({ mm, values }) => {
    const [x, y, z] = mm;
    const told = SIGNS.map((sign, index) => [sign, values[index + BELOW]?.value ?? 0]).find(([, shown]) => shown > 0);
    const heat = values.length > BELOW ? `, map ${told ? `${told[1].toFixed(2)}, ${told[0]}` : "0"}` : "";
    byId("location").textContent = `RAS ${[x, y, z].map((v) => v.toFixed(1)).join(", ")} mm${heat}`;
  };
  await viewer.attachToCanvas(byId("canvas"));
  viewer.setSliceType(viewer.sliceTypeMultiplanar);
  const channels = (colours, from) => [colours[0], ...colours].map((colour) => parseInt(colour.slice(from, from + 2), 16));
  for (const [name, colours] of Object.entries(data.colours)) {
    const steps = colours.map((_, index) => Math.max(1, Math.round((255 * index) / (colours.length - 1))));
    viewer.addColormap(`vae-loc-${name}`, {
      R: channels(colours, 1), G: channels(colours, 3), B: channels(colours, 5),
      A: [0, ...colours.map(() => 255)], I: [0, ...steps], // what is below the minimum has step 0: nothing is seen
    });
  }
  viewer.addColormap("vae-loc-gray", { R: [0, 255], G: [0, 255], B: [0, 255], A: [255, 255], I: [0, 255] });
  viewer.addColormap("vae-loc-mask", { R: [0, 0], G: [0, 230], B: [0, 255], A: [0, 255], I: [0, 255] });

  const image = (name, base64, colormap, opacity, low, high) =>
    niivue.NVImage.loadFromBase64({ name: `${name}.nii.gz`, base64, colormap, opacity, cal_min: low, cal_max: high });
  const value = (id) => Number(byId(id).value);
  let heats = [];
  let mask, chosen;
  let hidden = false;

  const drawBar = () => {
    const [low, high] = [value("threshold"), data.maps[chosen].ceiling].map((number) => number.toPrecision(3));
    for (const sign of SIGNS) byId(`bar-${sign}`).style.background = `linear-gradient(to right, ${data.colours[sign].join(", ")})`;
    for (const [name, text] of [["floor", low], ["ceiling", high]]) {
      document.querySelectorAll(`#bar .${name}`).forEach((place) => { place.textContent = text; });
    }
    byId("bar").setAttribute("aria-label", `Colours of the map from ${low} to ${high}: warm is brighter, blue is darker than expected`);
  };

  const redraw = () => {
    heats.forEach((heat, index) => {
      heat.cal_min = value("threshold");
      viewer.setOpacity(index + BELOW, hidden ? 0 : value("heat"));
    });
    byId("threshold-value").textContent = value("threshold").toPrecision(3);
    byId("heat-value").textContent = `${Math.round(100 * value("heat"))} %`;
    if (mask) {
      viewer.setOpacity(SIGNS.length + BELOW, hidden ? 0 : value("mask"));
      byId("mask-value").textContent = `${Math.round(100 * value("mask"))} %`;
    }
    drawBar();
    viewer.updateGLVolume();
  };

  const toggled = (id) => { // turns a button over; is it pressed now?
    const pressed = byId(id).getAttribute("aria-pressed") !== "true";
    byId(id).setAttribute("aria-pressed", String(pressed));
    return pressed;
  };

  const hide = () => {
    hidden = toggled("hide");
    redraw();
  };

  const expect = () => {
    viewer.setOpacity(1, toggled("expected") ? 1 : 0);
    viewer.updateGLVolume();
  };

  const renderHead = () => {
    const shown = toggled("render");
    viewer.opts.multiplanarShowRender = shown ? niivue.SHOW_RENDER.ALWAYS : niivue.SHOW_RENDER.NEVER;
    viewer.drawScene();
  };

  const setWindow = () => {
    for (const volume of viewer.volumes.slice(0, BELOW)) [volume.cal_min, volume.cal_max] = data.windows[byId("window").value];
    viewer.updateGLVolume();
  };

  const show = async (number) => {
    if (number === chosen) return;
    chosen = number;
    const map = data.maps[number];
    while (viewer.volumes.length > BELOW) viewer.removeVolumeByIndex(viewer.volumes.length - 1);
    const slider = byId("threshold");
    slider.max = map.ceiling;
    slider.step = map.ceiling / 200;
    slider.value = map.threshold;
    heats = [];
    for (const sign of SIGNS) {
      const heat = await image(sign, map[sign], `vae-loc-${sign}`, value("heat"), map.threshold, map.ceiling);
      heat.colormapType = TRANSPARENT_BELOW_MINIMUM;
      viewer.addVolume(heat);
      heats.push(heat);
    }
    mask = map.mask && (await image("mask", map.mask, "vae-loc-mask", value("mask"), 0, 1));
    if (mask) viewer.addVolume(mask);
    redraw();
  };

  const go = (point) => {
    viewer.scene.crosshairPos = viewer.mm2frac(point);
    viewer.createOnLocationChange();
    viewer.drawScene();
  };

  try {
    viewer.addVolume(await image("scan", data.scan, "gray", 1, ...data.windows.normal));
    viewer.addVolume(await image("expected", data.expected, "vae-loc-gray", 0, ...data.windows.normal));
    await show(0);
  } catch (error) {
    byId("viewer").hidden = true;
    byId("no-viewer").hidden = false;
    state("failed");
    throw error;
  }
  for (const id of ["threshold", "heat", "mask"]) byId(id)?.addEventListener("input", redraw);
  byId("hide").addEventListener("click", hide);
  byId("expected").addEventListener("click", expect);
  byId("render").addEventListener("click", renderHead);
  byId("window").addEventListener("change", setWindow);
  document.addEventListener("keydown", (event) => {
    const typed = event.target instanceof Element && event.target.matches("input:not([type=range]), select");
    const pressed = { h: hide, e: expect }[event.key];
    if (pressed && !typed && !event.ctrlKey && !event.altKey && !event.metaKey) pressed();
  });
  byId("method")?.addEventListener("change", (event) => show(Number(event.target.value)));
  const buttons = [...document.querySelectorAll("button.go")];
  const press = async (button) => {
    await show(Number(button.dataset.map));
    if (byId("method")) byId("method").value = button.dataset.map;
    go(button.dataset.ras.split(" ").map(Number));
    buttons.forEach((other) => other.setAttribute("aria-current", String(other === button)));
  };
  for (const button of buttons) {
    button.addEventListener("click", async () => {
      await press(button);
      byId("viewer").scrollIntoView({ block: "nearest", behavior: "smooth" });
    });
  }
  if (buttons.length) await press(buttons[0]);
  else viewer.createOnLocationChange();
  state("ready");
})();
