/** Reads a QR code with this device's camera: by the browser's own reader where it has one, else by one of ours. */
import { useEffect, useRef, useState } from 'preact/hooks';

export interface Detector {
  detect(from: HTMLVideoElement): Promise<{ rawValue: string }[]>;
}

/** Often enough that nobody waits for it, milliseconds. */
const LOOK_MS = 250;

/** Cameras are for secure pages only. */
export const canScan = (): boolean => !!navigator.mediaDevices && !!navigator.mediaDevices.getUserMedia;

interface Props {
  /** Whether that was what is looked for. */
  found: (text: string) => boolean;
  words: { scan: string; scanning: string; noCamera: string };
  /** Of the button that opens the camera. */
  style: string;
}

export function Scanner({ found, words, style }: Props) {
  const [how, setHow] = useState<'off' | 'on' | 'refused'>('off');
  const view = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    if (how !== 'on') return undefined;
    let over = false;
    let stream: MediaStream | null = null;
    const stop = (): void => stream?.getTracks().forEach((track) => track.stop());
    const look = async (): Promise<void> => {
      const detector = await newDetector();
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
      if (over) return stop();
      const video = view.current!;
      video.srcObject = stream;
      await video.play();
      while (!over) {
        const seen = await detector.detect(video);
        if (seen.some((it) => found(it.rawValue))) return setHow('off');
        await new Promise((next) => setTimeout(next, LOOK_MS));
      }
    };
    look().catch(() => !over && setHow('refused'));
    return () => {
      over = true;
      stop();
    };
  }, [how]);
  if (how === 'refused') return <p class="hint">{words.noCamera}</p>;
  if (how === 'off') {
    return (
      <button class={style} type="button" data-testid="tv-scan" onClick={() => setHow('on')}>
        {words.scan}
      </button>
    );
  }
  return (
    <figure class="rc-scan">
      <video ref={view} muted playsInline />
      <figcaption>{words.scanning}</figcaption>
    </figure>
  );
}

/** Whether there is a camera at all: televisions rarely have one, and those of 2021 (Chromium before 83) are not asked: asked for its devices, 79 crashed its page once. */
export async function hasCamera(): Promise<boolean> {
  if (!canScan() || !('requestVideoFrameCallback' in HTMLVideoElement.prototype)) return false;
  const devices = await navigator.mediaDevices.enumerateDevices().catch((): MediaDeviceInfo[] => []);
  return devices.some((it) => it.kind === 'videoinput');
}

/** Windows and Linux have the class and no reader behind it. */
async function newDetector(): Promise<Detector> {
  type Detectors = { new (options: { formats: string[] }): Detector; getSupportedFormats(): Promise<string[]> };
  const { BarcodeDetector } = window as { BarcodeDetector?: Detectors };
  const formats = BarcodeDetector ? await BarcodeDetector.getSupportedFormats().catch(() => []) : [];
  if (BarcodeDetector && formats.includes('qr_code')) return new BarcodeDetector({ formats: ['qr_code'] });
  return (await import('./read')).reader();
}
