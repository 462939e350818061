"use strict";
// The viewer of a page: NiiVue with each scan side by side, what the model expected, and one map with the outlines and
// numbers of its findings. The crosshairs are one. `data-viewer` on <body> says how it went.
(async () => {
  const byId = (id) => document.getElementById(id);
  const state = (text) => { document.body.dataset.viewer = text; };
  const without = (text) => { byId("viewer").hidden = true; byId("no-viewer").hidden = false; byId("slices").open = true; state(text); };
  if (!document.createElement("canvas").getContext("webgl2")) return without("none");
  const data = JSON.parse(byId("viewer-data").textContent);
  const SIGNS = Object.keys(data.colours); // the layers of a map; the outlines come last
  const BELOW = data.scans[0].expected ? 2 : 1; // layers below the map: the scan, and what the model expected
  const TRANSPARENT_BELOW_MINIMUM = 2; // NiiVue 0.69 swaps the meaning of 1 and 2 for volumes: nothing below cal_min
  const AXIAL = 0, CORONAL = 1, SAGITTAL = 2, RENDER = 4; // NiiVue's slice types
  byId("viewer").hidden = false;
  byId("slices").open = false;

  const value = (id) => Number(byId(id)?.value ?? 0);
  const pressed = (id) => byId(id)?.getAttribute("aria-pressed") === "true";
  const toggled = (id) => byId(id).setAttribute("aria-pressed", String(!pressed(id)));
  // true positions: NiiVue's own are those of a grid along the axes
  const place = (viewer) => [...viewer.frac2mm(viewer.scene.crosshairPos, 0, true)].slice(0, 3);
  const fraction = (viewer, mm) => viewer.mm2frac(mm, 0, true);
  const times = (matrix, [x, y, z]) => [0, 1, 2].map((row) => matrix[row][0] * x + matrix[row][1] * y + matrix[row][2] * z + matrix[row][3]);
  const image = (name, base64, colormap, opacity, low, high) =>
    niivue.NVImage.loadFromBase64({ name: `${name}.nii.gz`, base64, colormap, opacity, cal_min: low, cal_max: high });
  const cells = [...document.querySelectorAll("#stage .cell")];
  const viewers = [];
  let chosen, current, shape, numbers, marks;

  // the axial slice first and largest, the two others beside or below it, and the head in 3-D if it is asked for
  const layout = (viewer) => {
    const { offsetWidth: width, offsetHeight: height } = viewer.canvas.parentElement;
    const others = [CORONAL, SAGITTAL, ...(pressed("render") ? [RENDER] : [])];
    const share = 1 / others.length;
    const tiles = others.map((sliceType, at) => ({ sliceType, position: width > 1.1 * height ? [0.62, at * share, 0.38, share] : [at * share, 0.62, share, 0.38] }));
    viewer.setCustomLayout([{ sliceType: AXIAL, position: width > 1.1 * height ? [0, 0, 0.62, 1] : [0, 0, 1, 0.62] }, ...tiles]);
  };

  const numberAt = (mm) => {
    const [i, j, k] = times(data.mm2voxel, mm).map(Math.round);
    const inside = numbers && [i, j, k].every((at, axis) => at >= 0 && at < shape[axis]);
    return inside ? numbers[i + shape[0] * (j + shape[1] * k)] : 0;
  };

  // numbers beside the outlines of the axial slice that is shown: on the picture's right, the patient's left
  const upwards = [0, 1, 2].reduce((best, axis) => (Math.abs(data.voxel2mm[2][axis]) > Math.abs(data.voxel2mm[2][best]) ? axis : best), 0);
  const label = (viewer, cell) => {
    const spans = [];
    const at = Math.round(times(data.mm2voxel, place(viewer))[upwards]);
    for (const [number, slices] of marks ?? []) {
      if (!slices.has(at) || pressed("hide")) continue;
      const frac = fraction(viewer, times(data.voxel2mm, slices.get(at)));
      frac[2] = viewer.scene.crosshairPos[2];
      const found = viewer.frac2canvasPosWithTile(frac, AXIAL);
      if (!found) continue;
      const span = document.createElement("span");
      span.textContent = number;
      span.className = number === current ? "own" : "";
      span.style.left = `${found.pos[0] / viewer.uiData.dpr + 4}px`;
      span.style.top = `${found.pos[1] / viewer.uiData.dpr}px`;
      spans.push(span);
    }
    cell.querySelector(".numbers").replaceChildren(...spans);
  };

  const redraw = () => {
    for (const viewer of viewers) {
      const hidden = pressed("hide");
      viewer.volumes.slice(BELOW, BELOW + SIGNS.length).forEach((heat, at) => {
        heat.cal_min = value("threshold");
        heat.img = pressed("whole") || !numbers ? heat.all : heat.found;
        heat.opacity = hidden ? 0 : value("heat");
      });
      if (numbers) viewer.volumes.at(-1).opacity = hidden ? 0 : value("mask");
      if (BELOW > 1) viewer.volumes[1].opacity = pressed("expected") ? 1 : 0;
      viewer.updateGLVolume();
    }
    byId("threshold-value").textContent = value("threshold").toPrecision(3);
    for (const id of ["heat", "mask"]) if (byId(id)) byId(`${id}-value`).textContent = `${Math.round(100 * value(id))} %`;
    const [low, high] = [value("threshold"), data.maps[chosen].ceiling].map((number) => number.toPrecision(3));
    for (const sign of SIGNS) byId(`bar-${sign}`).style.background = `linear-gradient(to right, ${data.colours[sign].join(", ")})`;
    for (const [name, text] of [["floor", low], ["ceiling", high]]) {
      document.querySelectorAll(`#bar .${name}`).forEach((place) => { place.textContent = text; });
    }
    byId("bar").setAttribute("aria-label", `Colours of the map from ${low} to ${high}: ${SIGNS.join(", ")}${SIGNS.length > 1 ? " than expected" : ""}`);
  };

  const setWindow = () => {
    viewers.forEach((viewer, at) => {
      for (const volume of viewer.volumes.slice(0, BELOW)) [volume.cal_min, volume.cal_max] = data.scans[at].windows[byId("window").value];
      viewer.updateGLVolume();
    });
  };

  // the findings' outlines: their voxels with a neighbour outside, of the same slice; and where their numbers stand
  const outlined = (volume) => {
    const edges = new Uint8Array(volume.img.length);
    numbers = volume.img;
    shape = volume.hdr.dims.slice(1, 4);
    marks = new Map();
    const steps = [1, shape[0], shape[0] * shape[1]];
    for (let index = 0; index < numbers.length; index += 1) {
      const number = numbers[index];
      if (!number) continue;
      const voxel = [index % shape[0], Math.floor(index / steps[1]) % shape[1], Math.floor(index / steps[2])];
      const inner = steps.every((step, axis) => axis === upwards || (voxel[axis] > 0 && voxel[axis] < shape[axis] - 1 && numbers[index - step] === number && numbers[index + step] === number));
      edges[index] = inner ? 0 : 255;
      if (!marks.has(number)) marks.set(number, new Map());
      const slices = marks.get(number), other = slices.get(voxel[upwards]);
      if (!other || times(data.voxel2mm, voxel)[0] < times(data.voxel2mm, other)[0]) slices.set(voxel[upwards], voxel);
    }
    return edges;
  };

  const show = async (number) => {
    if (number === chosen) return;
    chosen = number;
    const map = data.maps[number];
    numbers = marks = undefined;
    Object.assign(byId("threshold"), { max: map.ceiling, step: map.ceiling / 200, value: map.threshold });
    const outlines = map.numbers && outlined(await image("numbers", map.numbers, "gray", 1, 0, 1));
    for (const viewer of viewers) {
      while (viewer.volumes.length > BELOW) viewer.removeVolumeByIndex(viewer.volumes.length - 1);
      for (const sign of SIGNS) {
        const heat = await image(sign, map.layers[sign], `vae-loc-${sign}`, value("heat"), map.threshold, map.ceiling);
        heat.colormapType = TRANSPARENT_BELOW_MINIMUM;
        heat.all = heat.img;
        heat.found = numbers && heat.img.map((stored, index) => (numbers[index] ? stored : 0));
        viewer.addVolume(heat);
      }
      if (!outlines) continue;
      const outline = await image("numbers", map.numbers, "vae-loc-mask", value("mask"), 0, 1);
      outline.img = outlines;
      viewer.addVolume(outline);
    }
    document.querySelectorAll(".list[data-map]").forEach((list) => { list.hidden = Number(list.dataset.map) !== number; });
    if (byId("method")) byId("method").value = number;
    redraw();
  };

  const start = async (scan, at) => {
    const viewer = new niivue.Niivue({
      isRadiologicalConvention: true,
      isOrientationTextVisible: true,
      crosshairColor: [0.35, 0.85, 1, 0.5],
      crosshairWidth: 0.5,
      crosshairGap: 12,
      backColor: [0, 0, 0, 1],
      dragAndDropEnabled: false,
      dragMode: niivue.DRAG_MODE.contrast,
      loadingText: "",
      logLevel: "error",
    });
    await viewer.attachToCanvas(cells[at].querySelector("canvas"));
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
    viewer.addVolume(await image("scan", scan.data, "gray", 1, ...scan.windows.normal));
    if (scan.expected) viewer.addVolume(await image("expected", scan.expected, "vae-loc-gray", 0, ...scan.windows.normal));
    const draw = viewer.drawScene.bind(viewer);
    viewer.drawScene = (...how) => { draw(...how); label(viewer, cells[at]); };
    viewer.onLocationChange = ({ values }) => {
      const mm = place(viewer);
      for (const other of viewers) {
        if (other === viewer) continue;
        other.scene.crosshairPos = fraction(other, mm);
        other.drawScene();
      }
      const told = SIGNS.map((sign, index) => [sign, values[index + BELOW]?.value ?? 0]).find(([, shown]) => shown > 0);
      const [heat, number] = [values.length > BELOW ? `, map ${told ? `${told[1].toFixed(2)}, ${told[0]}` : "0"}` : "", numberAt(mm)];
      byId("location").textContent = `RAS ${mm.map((at) => at.toFixed(1)).join(", ")} mm${heat}${number ? `, finding ${number}` : ""}`;
    };
    viewers.push(viewer);
    layout(viewer);
    new ResizeObserver(() => layout(viewer)).observe(cells[at]);
  };

  const go = (point) => {
    viewers[0].scene.crosshairPos = fraction(viewers[0], point);
    viewers[0].createOnLocationChange();
    viewers[0].drawScene();
  };

  try {
    for (const [at, scan] of data.scans.entries()) await start(scan, at);
    await show(0);
  } catch (error) {
    without("failed");
    throw error;
  }
  const keys = { h: "hide", m: "whole", e: "expected" };
  for (const id of Object.values(keys)) byId(id)?.addEventListener("click", () => { toggled(id); redraw(); });
  for (const id of ["threshold", "heat", "mask"]) byId(id)?.addEventListener("input", redraw);
  byId("render").addEventListener("click", () => { toggled("render"); viewers.forEach(layout); });
  byId("window").addEventListener("change", setWindow);
  document.addEventListener("keydown", (event) => {
    const typed = event.target instanceof Element && event.target.matches("input:not([type=range]), select");
    if (!typed && !event.ctrlKey && !event.altKey && !event.metaKey) byId(keys[event.key])?.click();
  });
  byId("method")?.addEventListener("change", (event) => show(Number(event.target.value)));
  const buttons = [...document.querySelectorAll("button.go")];
  const press = async (button) => {
    await show(Number(button.dataset.map));
    current = Number(button.textContent);
    go(button.dataset.ras.split(" ").map(Number));
    buttons.forEach((other) => other.setAttribute("aria-current", String(other === button)));
  };
  for (const button of buttons) {
    button.addEventListener("click", async () => {
      await press(button);
      byId("viewer").scrollIntoView({ block: "nearest", behavior: "smooth" });
    });
  }
  // a link from another page names a finding
  const first = buttons.find((button) => `#finding-${button.textContent}` === location.hash) ?? buttons[0];
  if (first) await press(first);
  else viewers[0].createOnLocationChange();
  state("ready");
})();
