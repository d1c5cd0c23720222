/** A panel, or a whole board, as a PNG: the page's own elements drawn once more into a canvas. */

/** pictureOf draws an element as it stands on the page. Canvases come along as images; fonts are the reader's own. */
export async function pictureOf(element: HTMLElement): Promise<Blob> {
  const { width, height } = element.getBoundingClientRect();
  const copy = cloneStyled(element);
  copy.style.margin = '0';
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('width', String(width));
  svg.setAttribute('height', String(height));
  const foreign = document.createElementNS('http://www.w3.org/2000/svg', 'foreignObject');
  foreign.setAttribute('width', '100%');
  foreign.setAttribute('height', '100%');
  foreign.append(copy);
  svg.append(foreign);
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(svg))}`;
  await image.decode();
  const ratio = Math.max(1, Math.min(2, window.devicePixelRatio));
  const canvas = document.createElement('canvas');
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const ctx = canvas.getContext('2d');
  if (!ctx) {
    throw new Error('this browser gives no canvas to draw in');
  }
  ctx.fillStyle = getComputedStyle(document.body).backgroundColor;
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.scale(ratio, ratio);
  ctx.drawImage(image, 0, 0, width, height);
  return new Promise((resolve, reject) => canvas.toBlob((b) => (b ? resolve(b) : reject(new Error('the picture could not be written'))), 'image/png'));
}

function cloneStyled(from: HTMLElement): HTMLElement {
  const copy = from.cloneNode(true) as HTMLElement;
  const olds = [from, ...from.querySelectorAll<HTMLElement>('*')];
  const news = [copy, ...copy.querySelectorAll<HTMLElement>('*')];
  olds.forEach((old, i) => {
    const fresh = news[i];
    if (!fresh) {
      return;
    }
    const style = getComputedStyle(old);
    fresh.setAttribute('style', [...style].map((name) => `${name}:${style.getPropertyValue(name)}`).join(';'));
    if (old instanceof HTMLCanvasElement) {
      const image = document.createElement('img');
      image.src = old.toDataURL();
      image.setAttribute('style', fresh.getAttribute('style') ?? '');
      fresh.replaceWith(image);
    }
  });
  // Links and scripts mean nothing in a picture, and outside images would spoil it.
  copy.querySelectorAll('script, iframe, img:not([src^="data:"])').forEach((e) => e.remove());
  return copy;
}

/** save hands a file to the reader. */
export function save(name: string, content: Blob): void {
  const url = URL.createObjectURL(content);
  const a = document.createElement('a');
  a.href = url;
  a.download = name.replace(/[^\p{L}\p{N}._ -]/gu, '_');
  a.click();
  URL.revokeObjectURL(url);
}
