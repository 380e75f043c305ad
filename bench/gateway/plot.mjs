// SPDX-License-Identifier: Apache-2.0
//
// Bar charts as SVG: groups of bars on a linear scale, one series a colour.
const colours = ['#4c72b0', '#dd8452', '#55a868', '#c44e52', '#8172b3', '#937860'];
const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

function niceTop(value) {
    const power = 10 ** Math.floor(Math.log10(value || 1));
    return [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= value);
}

const figure = (value) => value >= 100 ? Math.round(value).toLocaleString('en')
    : value >= 10 ? value.toFixed(1) : value.toFixed(2);

// chart: { title, unit, groups: [name], series: [{ name, values, low?, high? }],
// stacked?: bool }. null values are left out.
export function barChart({ title, unit, groups, series, stacked = false }) {
    const width = 760, height = 380, left = 70, right = 20, above = 64, below = 44;
    const high = groups.map((_, g) => stacked
        ? series.reduce((sum, s) => sum + (s.values[g] ?? 0), 0)
        : Math.max(...series.map((s) => s.high?.[g] ?? s.values[g] ?? 0)));
    const top = niceTop(Math.max(...high));
    const y = (value) => above + (height - above - below) * (1 - value / top);
    const out = [`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
        `<rect width="${width}" height="${height}" fill="white"/>`,
        `<text x="${left}" y="20" font-size="15" font-weight="bold">${escape(title)}</text>`];
    for (let i = 0; i <= 5; i++) {
        const value = top * i / 5;
        out.push(`<line x1="${left}" x2="${width - right}" y1="${y(value)}" y2="${y(value)}" stroke="#ddd"/>`,
            `<text x="${left - 6}" y="${y(value) + 4}" text-anchor="end">${figure(value)}</text>`);
    }
    out.push(`<text x="14" y="${above - 8}" fill="#555">${escape(unit)}</text>`);
    const slot = (width - left - right) / groups.length;
    const bar = stacked ? slot * 0.5 : slot * 0.8 / series.length;
    groups.forEach((group, g) => {
        let base = 0;
        series.forEach((s, n) => {
            const value = s.values[g];
            if (value === null || value === undefined || Number.isNaN(value)) return;
            const x = left + g * slot + (stacked ? slot * 0.25 : slot * 0.1 + n * bar);
            const from = stacked ? base : 0;
            base += value;
            out.push(`<rect x="${x.toFixed(1)}" y="${y(from + value).toFixed(1)}" width="${(bar - 2).toFixed(1)}" `
                + `height="${(y(from) - y(from + value)).toFixed(1)}" fill="${colours[n % colours.length]}"/>`);
            if (!stacked)
                out.push(`<text x="${(x + bar / 2).toFixed(1)}" y="${(y(s.high?.[g] ?? value) - 4).toFixed(1)}" `
                    + `text-anchor="middle" font-size="10">${figure(value)}</text>`);
            if (s.low)
                out.push(`<line x1="${x + bar / 2 - 1}" x2="${x + bar / 2 - 1}" y1="${y(s.low[g])}" y2="${y(s.high[g])}" stroke="#222"/>`);
        });
        if (stacked)
            out.push(`<text x="${left + (g + 0.5) * slot}" y="${y(base) - 4}" text-anchor="middle" font-size="10">${figure(base)}</text>`);
        out.push(`<text x="${left + (g + 0.5) * slot}" y="${height - below + 18}" text-anchor="middle">${escape(group)}</text>`);
    });
    series.forEach((s, n) => out.push(
        `<rect x="${left + n * 115}" y="32" width="11" height="11" fill="${colours[n % colours.length]}"/>`,
        `<text x="${left + n * 115 + 15}" y="42">${escape(s.name)}</text>`));
    out.push('</svg>');
    return out.join('\n') + '\n';
}
