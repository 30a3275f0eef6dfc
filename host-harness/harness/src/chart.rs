//! The trend of time to restore, drawn: a bar for the median of each bucket, a mark for its mean, and under it who
//! reported how many. Pure; the verb and the console show the same image.
//!
//! A bucket in which nothing was restored is a gap: never a bar of height zero, never a line through it. The image
//! carries no script, no style sheet and no text that is not escaped, so that it may stand in any page.

use std::fmt::Write;

use koalr_host::calendar;
use koalr_host::contract::{Bucket, Durations};

use crate::view;
use crate::view::report::{Report, provisional};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 380.0;
/// The area of the bars.
const LEFT: f64 = 74.0;
const RIGHT: f64 = 944.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 276.0;
/// The strip of counts.
const STRIP_TOP: f64 = 314.0;
const STRIP_BOTTOM: f64 = 346.0;

const INK: &str = "#1f2937";
const FAINT: &str = "#6b7280";
const GRID: &str = "#e5e7eb";
const BAR: &str = "#3b6fd4";
const MEAN: &str = "#b45309";
/// One for each source, in the order of the report.
const SOURCES: [&str; 4] = ["#0f766e", "#9333ea", "#be123c", "#4d7c0f"];

/// Seconds between lines of the grid, of which the first that gives few enough lines is taken.
const STEPS: [f64; 22] = [
    1.0,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    600.0,
    1_200.0,
    1_800.0,
    3_600.0,
    7_200.0,
    10_800.0,
    21_600.0,
    43_200.0,
    86_400.0,
    172_800.0,
    432_000.0,
    604_800.0,
    1_209_600.0,
    2_592_000.0,
    7_776_000.0,
    31_536_000.0,
];
const MOST_LINES: f64 = 6.0;
/// Labels under the bars, at most.
const MOST_LABELS: usize = 11;

/// The image, as a document of its own.
pub(crate) fn svg(of: &Report<'_>) -> String {
    let Report { report, asked, .. } = of;
    let label = |bucket: &Bucket| calendar::label(bucket.since, asked.bucket, asked.zone);
    let name = asked.bucket_name();
    let title = format!(
        "Time to restore of {} by {name}, clock from {} to {}",
        asked.organisation, asked.clock, asked.clock_end
    );
    let provisional = provisional(of);
    let height = HEIGHT + 18.0 * provisional.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <title>{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        escaped(&title)
    );
    let mut draw = Draw(&mut out);
    draw.text(LEFT, 24.0, "start", INK, &title);
    draw.legend(report.by_source.iter().map(|slice| slice.label.as_str()));

    let figures = report.trend.iter().filter_map(|bucket| bucket.statistics.durations.as_ref());
    let longest = figures.map(|d| d.median.max(d.mean)).fold(0.0, f64::max);
    if report.overall.statistics.count == 0 {
        draw.text(
            f64::midpoint(LEFT, RIGHT),
            f64::midpoint(TOP, BOTTOM),
            "middle",
            FAINT,
            "nothing was restored in this time",
        );
    }
    let step = STEPS.into_iter().find(|step| longest / step <= MOST_LINES);
    let step = step.unwrap_or_else(|| (longest / MOST_LINES).max(1.0));
    let top = ((longest / step).ceil() * step).max(step);
    let y = |seconds: f64| BOTTOM - seconds / top * (BOTTOM - TOP);
    let mut line = 0.0;
    while line <= top {
        draw.line((LEFT, y(line)), (RIGHT, y(line)), GRID, "");
        draw.text(LEFT - 8.0, y(line) + 4.0, "end", FAINT, &axis(line));
        line += step;
    }

    let count = report.trend.len().max(1);
    let pitch = (RIGHT - LEFT) / count as f64;
    let most = report.trend.iter().map(|bucket| bucket.statistics.count).max().unwrap_or(0).max(1) as f64;
    let every = count.div_ceil(MOST_LABELS);
    for (place, bucket) in report.trend.iter().enumerate() {
        let x = LEFT + pitch * place as f64;
        let (inset, width) = (pitch * 0.15, pitch * 0.7);
        let incomplete = bucket.until > asked.now;
        let mut told = label(bucket);
        if incomplete {
            told.push_str(" (incomplete)");
        }
        match &bucket.statistics.durations {
            None => told.push_str(": nothing was restored"),
            Some(d) => {
                let (median, mean) = (view::duration(d.median), view::duration(d.mean));
                let _ = write!(told, ": median {median}, mean {mean}, n = {}", bucket.statistics.count);
            }
        }
        let _ = writeln!(draw.0, "<g><title>{}</title>", escaped(&told));
        if let Some(d) = &bucket.statistics.durations {
            // A median of zero is a bar too, if a low one.
            let high = (BOTTOM - y(d.median)).max(1.5);
            let opacity = if incomplete { 0.45 } else { 1.0 };
            draw.bar((x + inset, BOTTOM - high), (width, high), BAR, opacity);
            draw.line((x + inset, y(d.mean)), (x + inset + width, y(d.mean)), MEAN, " stroke-width=\"2\"");
        }
        let mut base = STRIP_BOTTOM;
        for (source, share) in bucket.by_source.iter().enumerate().filter(|(_, share)| **share > 0) {
            let high = *share as f64 / most * (STRIP_BOTTOM - STRIP_TOP);
            base -= high;
            draw.bar((x + inset, base), (width, high), colour(source), 1.0);
        }
        // The whole column tells what it is, gaps too.
        draw.bar((x, TOP), (pitch, STRIP_BOTTOM - TOP), "#000000", 0.0);
        draw.0.push_str("</g>\n");
        if place.is_multiple_of(every) {
            draw.text(x + pitch / 2.0, BOTTOM + 18.0, "middle", FAINT, &label(bucket));
        }
    }
    if let Some(at) = asked.cut_over
        && let Some((place, bucket)) =
            report.trend.iter().enumerate().find(|(_, bucket)| (bucket.since..bucket.until).contains(&at))
    {
        let part = (at - bucket.since) as f64 / (bucket.until - bucket.since).max(1) as f64;
        let x = LEFT + pitch * (place as f64 + part);
        draw.line((x, TOP), (x, STRIP_BOTTOM), INK, " stroke-dasharray=\"4 3\"");
        let (anchor, aside) = if x > f64::midpoint(LEFT, RIGHT) { ("end", -6.0) } else { ("start", 6.0) };
        draw.text(x + aside, TOP + 16.0, anchor, INK, "incident.io from here on");
    }
    draw.line((LEFT, STRIP_BOTTOM), (RIGHT, STRIP_BOTTOM), GRID, "");
    draw.text(LEFT - 8.0, STRIP_TOP + 10.0, "end", FAINT, &format!("{most}"));
    draw.text(LEFT - 8.0, STRIP_BOTTOM, "end", FAINT, "n 0");
    draw.text(LEFT, HEIGHT - 12.0, "start", FAINT, &footer(of));
    for (line, reason) in provisional.iter().rev().enumerate() {
        draw.text(LEFT, height - 12.0 - 18.0 * line as f64, "start", INK, reason);
    }
    out.push_str("</svg>\n");
    out
}

/// Where each share of the restore times lies, on an axis that is logarithmic because they span seconds to weeks; the
/// bands of the tiers behind it.
pub(crate) fn spread(of: &Durations) -> String {
    let [elite, high, medium] = view::TIER_ENDS;
    let bands = [
        ("Elite", elite, "#dcfce7"),
        ("High", high, "#dbeafe"),
        ("Medium", medium, "#fef3c7"),
        ("Low", f64::INFINITY, "#fee2e2"),
    ];
    const SHORTEST: f64 = 10.0;
    const MARKS: [(f64, &str); 6] = [
        (60.0, "1 min"),
        (600.0, "10 min"),
        (3_600.0, "1 h"),
        (21_600.0, "6 h"),
        (86_400.0, "1 d"),
        (604_800.0, "7 d"),
    ];
    let (left, right, top, bottom) = (8.0, 672.0, 30.0, 100.0);
    // So that the last band has room for its name.
    let longest = of.max.max(medium * 3.0);
    let x = |seconds: f64| {
        let part = (seconds.clamp(SHORTEST, longest) / SHORTEST).ln() / (longest / SHORTEST).ln();
        left + part * (right - left)
    };
    let mut out = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 680 140\" width=\"680\" height=\"140\" role=\"img\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n",
    );
    let told = [("shortest", of.min), ("median", of.median), ("90 % within", of.p90), ("longest", of.max)];
    let told = told.map(|(name, seconds)| format!("{name} {}", view::duration(seconds))).join(", ");
    let _ = writeln!(
        out,
        "<title>{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>",
        escaped(&told)
    );
    let mut draw = Draw(&mut out);
    let mut from = left;
    for (name, until, fill) in bands {
        let to = x(until);
        draw.bar((from, top), (to - from, bottom - top), fill, 1.0);
        draw.text(from + 4.0, top - 8.0, "start", FAINT, name);
        from = to;
    }
    for (seconds, name) in MARKS.into_iter().filter(|(seconds, _)| *seconds < longest) {
        draw.line((x(seconds), top), (x(seconds), bottom), GRID, "");
        draw.text(x(seconds), bottom + 18.0, "middle", FAINT, name);
    }
    let middle = f64::midpoint(top, bottom);
    draw.line((x(of.min), middle), (x(of.max), middle), INK, " stroke-width=\"1.5\"");
    for (seconds, half) in [(of.min, 8.0), (of.max, 8.0), (of.p95, 6.0)] {
        draw.line((x(seconds), middle - half), (x(seconds), middle + half), INK, " stroke-width=\"1.5\"");
    }
    let width = (x(of.p90) - x(of.median)).max(1.5);
    draw.bar((x(of.median), middle - 14.0), (width, 28.0), BAR, 0.55);
    draw.line((x(of.median), middle - 20.0), (x(of.median), middle + 20.0), BAR, " stroke-width=\"4\"");
    draw.line((x(of.mean), middle - 20.0), (x(of.mean), middle + 20.0), MEAN, " stroke-width=\"2\"");
    draw.text(
        left,
        bottom + 34.0,
        "start",
        FAINT,
        "bar: median to 90 %; thick mark: median; thin: mean; line: all",
    );
    out.push_str("</svg>\n");
    out
}

/// A duration without what is zero.
fn axis(seconds: f64) -> String {
    let text = view::duration(seconds);
    let short = text.strip_suffix(" 00 min").or_else(|| text.strip_suffix(" 00 h"));
    short.map_or_else(|| text.clone(), str::to_string)
}

fn footer(of: &Report<'_>) -> String {
    let overall = &of.report.overall.statistics;
    let left_out: u64 = of.report.excluded.iter().map(|excluded| excluded.count).sum();
    let figure = match &overall.durations {
        Some(d) => format!(
            "median {} ({}), mean {} ({}), n = {}",
            view::duration(d.median),
            view::tier(d.tier),
            view::duration(d.mean),
            view::tier(d.mean_tier),
            overall.count
        ),
        None => "no figure".into(),
    };
    let open = of.report.open;
    format!("{figure}; {left_out} left out, {open} of them not over yet; days of {}", of.asked.zone)
}

fn colour(source: usize) -> &'static str {
    SOURCES.get(source % SOURCES.len()).copied().unwrap_or(FAINT)
}

/// Writes elements; a `String` takes whatever is written.
struct Draw<'a>(&'a mut String);

impl Draw<'_> {
    fn text(&mut self, x: f64, y: f64, anchor: &str, fill: &str, text: &str) {
        let text = escaped(text);
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{fill}\">{text}</text>"
        );
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str, more: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.0,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{stroke}\"{more}/>"
        );
    }

    fn bar(&mut self, at: (f64, f64), size: (f64, f64), fill: &str, opacity: f64) {
        let ((x, y), (width, height)) = (at, size);
        let _ = writeln!(
            self.0,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\" \
             fill-opacity=\"{opacity}\"/>"
        );
    }

    fn legend<'s>(&mut self, sources: impl Iterator<Item = &'s str>) {
        let mut x = LEFT;
        let marks = [("median".to_owned(), BAR), ("mean".to_owned(), MEAN)].into_iter();
        let counts = sources.enumerate().map(|(source, name)| (format!("n, {name}"), colour(source)));
        for (name, fill) in marks.chain(counts) {
            self.bar((x, 36.0), (12.0, 12.0), fill, 1.0);
            self.text(x + 18.0, 46.0, "start", FAINT, &name);
            x += 40.0 + 7.0 * name.chars().count() as f64;
        }
    }
}

/// As text of XML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no way to say most of these.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use koalr_host::calendar::BucketSize;
    use koalr_host::contract::{MttrReport, Slice, Statistics, Tier};

    use super::*;
    use crate::view::report::{Asked, Before};

    const DAY: i64 = 86_400_000_000;

    fn statistics(count: u64, median: f64) -> Statistics {
        let tier = Tier::High;
        let of = |d: f64| Durations {
            mean: d * 2.0,
            median: d,
            p75: d,
            p90: d,
            p95: d,
            min: d,
            max: d,
            tier,
            mean_tier: tier,
        };
        Statistics { count, durations: (count > 0).then(|| of(median)) }
    }

    /// A day for each median.
    fn drawn(organisation: &str, medians: &[Option<f64>]) -> String {
        let bucket = |(day, median): (usize, &Option<f64>)| {
            let count = u64::from(median.is_some());
            let since = DAY * i64::try_from(day).unwrap();
            let statistics = statistics(count, median.unwrap_or_default());
            Bucket { since, until: since + DAY, statistics, by_source: vec![count] }
        };
        let slice = |label: &str| Slice {
            label: label.into(),
            statistics: statistics(medians.iter().flatten().count() as u64, 9.0),
        };
        let report = MttrReport {
            overall: slice("all"),
            trend: medians.iter().enumerate().map(bucket).collect(),
            by_priority: vec![],
            by_service: vec![],
            by_source: vec![slice("incidentio")],
            excluded: vec![],
            population: 0,
            open: 0,
            oldest_open: None,
            provisional: 0,
            reopened: 0,
            other_clocks: vec![],
        };
        let asked = Asked {
            organisation,
            zone: chrono_tz::UTC,
            bucket: BucketSize::Day,
            clock: "created",
            clock_end: "resolved",
            now: DAY * 2,
            cut_over: Some(DAY),
            recalculating: false,
        };
        svg(&Report { report, acknowledge: None, before: Before::Nothing, unknown_timestamps: vec![], asked })
    }

    fn bars(svg: &str) -> usize {
        svg.matches(&format!("fill=\"{BAR}\" fill-opacity")).count()
    }

    #[test]
    fn a_bucket_without_a_figure_is_a_gap_and_one_of_zero_is_not() {
        let legend = bars(&drawn("acme", &[]));
        assert_eq!(bars(&drawn("acme", &[None, None])), legend);
        assert!(drawn("acme", &[None]).contains("nothing was restored in this time"));
        let image = drawn("acme", &[Some(0.0), None, Some(7_200.0)]);
        assert_eq!(bars(&image), legend + 2, "{image}");
        assert!(image.contains("<title>1970-01-01: median 0 s, mean 0 s, n = 1</title>"), "{image}");
        assert!(image.contains("<title>1970-01-02: nothing was restored</title>"), "{image}");
        assert!(image.contains("<title>1970-01-03 (incomplete): median 2 h 00 min"), "{image}");
        assert!(image.contains(">2 h<"), "the axis names whole units: {image}");
    }

    #[test]
    fn what_an_organisation_is_called_is_text() {
        let image = drawn("<script>&\"\u{1b}", &[Some(1.0)]);
        assert!(image.contains("&lt;script&gt;&amp;&quot; "), "{image}");
        assert!(!image.contains("<script"), "{image}");
    }
}
