/**
 * /proc/self/mountinfo: what is mounted where.
 *
 * ```
 * 36 35 98:0 /root /mount\040point rw,noatime - fuse.sextant sextant rw,user_id=0
 *       `device    `where, octal for blanks   `type behind " - "
 * ```
 */
export interface MountEntry {
  readonly deviceMinor: number;
  readonly mountPoint: string;
  readonly type: string;
  readonly source: string;
}

export function parseMountTable(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split('\n')) {
    const [left, right] = line.split(' - ');
    const fields = left?.split(' ') ?? [];
    const [type, source] = right?.split(' ') ?? [];
    const device = fields[2];
    const where = fields[4];
    if (device === undefined || where === undefined || type === undefined) continue;
    entries.push({
      deviceMinor: Number(device.split(':')[1]),
      mountPoint: unescapeOctal(where),
      type,
      source: unescapeOctal(source ?? ''),
    });
  }
  return entries;
}

/** The kernel writes blank, tab, newline and backslash as `\ooo`, other bytes as they are. */
function unescapeOctal(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}
