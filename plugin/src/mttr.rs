//! Time to restore: the figure, what it is made of, and what was left out of it and why.
//!
//! Every incident of the population is either measured or counted under exactly one reason. Nothing is
//! clamped, rounded or sketched: sums are integers, percentiles are exact order statistics, and where there is
//! nothing to measure there is no figure. Time zones are the host's business: buckets arrive as instants.
//!
//! Memory grows by 32 bytes a measured incident, whatever its history is. The durations are sorted once, for
//! all slices: within a slice they come in the same order, so a count of those that went before is a rank.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::model::{
    Bucket, ClockEnd, ClockStart, Durations, Error, Exclusion, Mode, MttrQuery, MttrReport, OtherClock,
    Phase, SECOND, Sample, SamplePage, Slice, Statistics, StorageError, Tier, Timestamp,
};

/// Buckets in one report; ten years of days fit.
const MOST_EDGES: usize = 4_000;

impl Tier {
    /// The tier of an unrounded number of seconds.
    pub fn of(seconds: f64) -> Tier {
        if seconds < 3_600.0 {
            Tier::Elite
        } else if seconds < 86_400.0 {
            Tier::High
        } else if seconds <= 604_800.0 {
            Tier::Medium
        } else {
            Tier::Low
        }
    }
}

/// Why an incident is not measured, in the order in which reasons are tried.
pub const REASONS: [&str; 22] = [
    "source",
    "test",
    "tutorial",
    "triage",
    "declined",
    "canceled",
    "merged",
    "private",
    "duplicate",
    "priority",
    "service",
    "not-visible",
    "open",
    "unknown-phase",
    "implausible-time",
    "ends-in-the-future",
    "entered-later",
    "no-creation-time",
    "no-resolution-time",
    "no-start-time",
    "no-acknowledgement",
    "negative-duration",
];

/// Index into [`REASONS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Source,
    Test,
    Tutorial,
    Triage,
    Declined,
    Canceled,
    Merged,
    Private,
    Duplicate,
    Priority,
    Service,
    NotVisible,
    Open,
    UnknownPhase,
    ImplausibleTime,
    EndsInTheFuture,
    EnteredLater,
    NoCreationTime,
    NoResolutionTime,
    NoStartTime,
    NoAcknowledgement,
    NegativeDuration,
}

/// 2005-01-01T00:00:00Z. No incident is older: an earlier time is a mistake.
const PLAUSIBLE: Timestamp = 1_104_537_600 * SECOND;

/// In the order of the contract.
const STARTS: [ClockStart; 3] = [ClockStart::Created, ClockStart::Started, ClockStart::Acknowledged];

/// The label of incidents that affect no known service.
const NO_SERVICE: &str = "(no service)";

/// A measured incident, in sixteen bytes: they are moved about, because reading a million of them out of order takes
/// longer.
#[derive(Clone, Copy)]
struct Duration {
    micros: i64,
    /// Where its services begin in [`Measured::service_pool`].
    services: u32,
    bucket: u16,
    source: u8,
    priority: u8,
}

/// Marks the last service of an incident in [`Measured::service_pool`].
const LAST: u32 = 1 << 31;

/// `scan-samples` of the contract: since, until, now, after.
pub type Scan<'a> =
    dyn FnMut(Timestamp, Timestamp, Timestamp, Option<&str>) -> Result<SamplePage, StorageError> + 'a;

/// Reads the population page by page and measures it, as of `now`.
pub fn compute(query: &MttrQuery, now: Timestamp, page: &mut Scan<'_>) -> Result<MttrReport, Error> {
    let (since, until) = bounds(&query.edges)?;
    let mut measured = Measured::new(query, now);
    let mut after: Option<String> = None;
    loop {
        let page = page(since, until, now, after.as_deref())?;
        measured.add(&page)?;
        match page.next {
            Some(next) if after.as_ref() != Some(&next) => after = Some(next),
            Some(_) => return Err(Error::Malformed("the host's scan does not advance".to_owned())),
            None => return Ok(measured.report()),
        }
    }
}

fn bounds(edges: &[Timestamp]) -> Result<(Timestamp, Timestamp), Error> {
    let ascending = edges.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    match edges {
        [first, .., last] if ascending && edges.len() <= MOST_EDGES => Ok((*first, *last)),
        _ => Err(Error::Invalid(format!("edges must be 2 to {MOST_EDGES} ascending instants"))),
    }
}

struct Measured<'q> {
    query: &'q MttrQuery,
    now: Timestamp,
    durations: Vec<Duration>,
    service_pool: Vec<u32>,
    services: Names,
    sources: Names,
    /// One count for each of [`REASONS`].
    excluded: [u64; REASONS.len()],
    oldest_open: Option<Timestamp>,
    provisional: u64,
    reopened: u64,
    /// How many each of [`STARTS`] measures.
    by_start: [u64; STARTS.len()],
}

impl<'q> Measured<'q> {
    fn new(query: &'q MttrQuery, now: Timestamp) -> Self {
        let mut services = Names::default();
        services.index_as(&normalised(NO_SERVICE), NO_SERVICE);
        Measured {
            query,
            now,
            durations: Vec::new(),
            service_pool: Vec::new(),
            services,
            sources: Names::default(),
            excluded: [0; REASONS.len()],
            oldest_open: None,
            provisional: 0,
            reopened: 0,
            by_start: [0; STARTS.len()],
        }
    }

    fn add(&mut self, page: &SamplePage) -> Result<(), Error> {
        // Names are looked up once a page, not once a sample.
        let wanted: Vec<String> = self.query.services.iter().map(|name| normalised(name)).collect();
        let sources: Vec<(u32, bool)> = page
            .sources
            .iter()
            .map(|name| {
                (self.sources.index(name), self.query.sources.is_empty() || self.query.sources.contains(name))
            })
            .collect();
        let services: Vec<(u32, bool)> = page
            .services
            .iter()
            .map(|name| {
                let folded = normalised(name);
                (self.services.index_as(&folded, name), wanted.contains(&folded))
            })
            .collect();
        let broken =
            || Error::Malformed("the host's scan names a source or service that it does not list".to_owned());
        for sample in &page.samples {
            let (source, selected) = *sources.get(sample.source as usize).ok_or_else(broken)?;
            let start = self.service_pool.len();
            let source = u8::try_from(source).map_err(|_| broken())?;
            for index in &sample.services {
                let (service, wanted) = *services.get(*index as usize).ok_or_else(broken)?;
                let known = self.service_pool.get(start..).is_some_and(|own| own.contains(&service));
                if !known && (wanted || self.query.services.is_empty()) {
                    self.service_pool.push(service);
                }
            }
            let admitted = self.query.services.is_empty() || self.service_pool.len() > start;
            match self.judge(sample, selected, admitted)? {
                Verdict::Measured { micros, bucket } => {
                    if self.service_pool.len() == start {
                        self.service_pool.push(0);
                    }
                    if let Some(last) = self.service_pool.last_mut() {
                        *last |= LAST;
                    }
                    let services = start as u32;
                    let priority = sample.priority.map_or(4, |priority| priority as u8);
                    self.durations.push(Duration { micros, services, bucket, source, priority });
                }
                Verdict::Excluded(reason) => {
                    self.service_pool.truncate(start);
                    if let Some(count) = self.excluded.get_mut(reason as usize) {
                        *count += 1;
                    }
                    if reason == Reason::Open {
                        // A time that cannot be would make an age that cannot be.
                        let plausible = PLAUSIBLE..=self.now;
                        let created = sample.created_at.filter(|at| plausible.contains(at));
                        self.oldest_open = self.oldest_open.into_iter().chain(created).min();
                    }
                }
            }
        }
        Ok(())
    }

    /// The first reason that applies, in the order of [`REASONS`], or the duration.
    fn judge(
        &mut self,
        sample: &Sample,
        source_selected: bool,
        service_admitted: bool,
    ) -> Result<Verdict, Error> {
        let priorities = &self.query.priorities;
        let reason = match (sample.mode, sample.phase) {
            _ if !source_selected => Reason::Source,
            (Mode::Test, _) => Reason::Test,
            (Mode::Tutorial, _) => Reason::Tutorial,
            (_, Phase::Triage) => Reason::Triage,
            (_, Phase::Declined) => Reason::Declined,
            (_, Phase::Canceled) => Reason::Canceled,
            (_, Phase::Merged) => Reason::Merged,
            _ if sample.private && !self.query.include_private => Reason::Private,
            _ if sample.duplicate => Reason::Duplicate,
            _ if !priorities.is_empty() && !sample.priority.is_some_and(|p| priorities.contains(&p)) => {
                Reason::Priority
            }
            _ if !service_admitted => Reason::Service,
            (_, Phase::Active | Phase::Paused) if sample.not_visible => Reason::NotVisible,
            (_, Phase::Active | Phase::Paused) => Reason::Open,
            (_, Phase::Unknown) => Reason::UnknownPhase,
            (_, Phase::Resolved | Phase::Closed) => return self.decide(sample),
        };
        Ok(Verdict::Excluded(reason))
    }

    /// Of an incident that is over; also counts what other clocks would make of it.
    fn decide(&mut self, sample: &Sample) -> Result<Verdict, Error> {
        let MttrQuery { edges, start, end, .. } = self.query;
        let duration = measure(sample, self.now, *start, *end);
        self.provisional += u64::from(sample.waits);
        let other_end = match end {
            ClockEnd::Resolved => Some(ClockEnd::FirstResolution),
            ClockEnd::FirstResolution => Some(ClockEnd::Resolved),
            ClockEnd::Acknowledged => None,
        };
        let differs = other_end.is_some_and(|end| measure(sample, self.now, *start, end) != duration);
        self.reopened += u64::from(differs);
        for (start, count) in STARTS.into_iter().zip(&mut self.by_start) {
            *count += u64::from(measure(sample, self.now, start, *end).is_ok());
        }
        let micros = match duration {
            Ok(micros) => micros,
            Err(reason) => return Ok(Verdict::Excluded(reason)),
        };
        let bucket = sample.resolved_at.map_or(0, |at| edges.partition_point(|edge| *edge <= at));
        if bucket == 0 || bucket >= edges.len() {
            return Err(Error::Malformed(
                "the host's scan answers an incident outside of the interval".to_owned(),
            ));
        }
        Ok(Verdict::Measured { micros, bucket: bucket as u16 - 1 })
    }

    fn report(mut self) -> MttrReport {
        shortest_first(&mut self.durations);
        let bucket_count = self.query.edges.len() - 1;
        let mut overall = Tallies::new(1);
        let mut trend = Tallies::new(bucket_count);
        let mut by_priority = Tallies::new(5);
        let mut by_service = Tallies::new(self.services.names.len());
        let mut by_source = Tallies::new(self.sources.names.len());
        // The first pass counts, so that the second knows which ranks it is looking for.
        for pass in [Tallies::count as fn(&mut Tallies, usize, i64), Tallies::pick] {
            for duration in &self.durations {
                let micros = duration.micros;
                pass(&mut overall, 0, micros);
                pass(&mut trend, duration.bucket as usize, micros);
                pass(&mut by_priority, duration.priority.into(), micros);
                pass(&mut by_source, duration.source.into(), micros);
                for service in self.service_pool.iter().skip(duration.services as usize) {
                    pass(&mut by_service, (service & !LAST) as usize, micros);
                    if service & LAST != 0 {
                        break;
                    }
                }
            }
        }
        let source_count = self.sources.names.len();
        let mut shares = vec![0u64; bucket_count * source_count];
        for duration in &self.durations {
            let cell = duration.bucket as usize * source_count + usize::from(duration.source);
            if let Some(share) = shares.get_mut(cell) {
                *share += 1;
            }
        }
        let mut buckets = Vec::with_capacity(trend.0.len());
        let mut shares = shares.chunks(source_count.max(1));
        for (pair, tally) in self.query.edges.windows(2).zip(&trend.0) {
            let [since, until] = *pair else { continue };
            let shares = shares.next().unwrap_or_default();
            let mut by_source = Vec::with_capacity(shares.len());
            for (at, _) in self.sources.in_order() {
                by_source.push(shares.get(at).copied().unwrap_or_default());
            }
            buckets.push(Bucket { since, until, statistics: tally.statistics(), by_source });
        }
        let mut excluded = Vec::new();
        let mut population = self.durations.len() as u64;
        for (reason, count) in REASONS.into_iter().zip(self.excluded) {
            population += count;
            if count > 0 {
                excluded.push(Exclusion { reason: reason.to_owned(), count });
            }
        }
        let mut other_clocks = Vec::new();
        for (start, count) in STARTS.into_iter().zip(self.by_start) {
            let more = count.saturating_sub(self.durations.len() as u64);
            if more > 0 {
                other_clocks.push(OtherClock { start, more });
            }
        }
        let overall = overall.0.first().cloned().unwrap_or_default().statistics();
        MttrReport {
            overall: Slice { label: "all".to_owned(), statistics: overall },
            trend: buckets,
            by_priority: by_priority.slices(["P1", "P2", "P3", "P4", "none"].into_iter().enumerate()),
            by_service: by_service.slices(self.services.in_order()),
            by_source: by_source.slices(self.sources.in_order()),
            excluded,
            population,
            open: self.excluded.get(Reason::Open as usize).copied().unwrap_or_default(),
            oldest_open: self.oldest_open,
            provisional: self.provisional,
            reopened: self.reopened,
            other_clocks,
        }
    }
}

/// How long an incident that is over took by this clock, or the first reason against it.
fn measure(sample: &Sample, now: Timestamp, start: ClockStart, end: ClockEnd) -> Result<i64, Reason> {
    let entered_later = sample.mode == Mode::Retrospective;
    let began = match start {
        ClockStart::Acknowledged => sample.acknowledged_at,
        // Its creation is the moment of data entry.
        _ if entered_later => sample.started_at,
        ClockStart::Created => sample.created_at,
        ClockStart::Started => sample.started_at.or(sample.created_at),
    };
    let resolved = sample.resolved_at;
    let ended = match end {
        ClockEnd::Resolved => resolved,
        ClockEnd::FirstResolution => sample.first_resolved_at.or(resolved),
        ClockEnd::Acknowledged => sample.acknowledged_at,
    };
    let needs_creation = began.is_none() && start != ClockStart::Acknowledged;
    match (began, ended) {
        _ if [began, resolved, ended].into_iter().flatten().any(|at| at < PLAUSIBLE) => {
            Err(Reason::ImplausibleTime)
        }
        _ if resolved.max(ended) > Some(now) => Err(Reason::EndsInTheFuture),
        _ if entered_later && (needs_creation || resolved.is_none()) => Err(Reason::EnteredLater),
        _ if needs_creation => Err(Reason::NoCreationTime),
        _ if resolved.is_none() => Err(Reason::NoResolutionTime),
        (None, _) => Err(Reason::NoStartTime),
        (_, None) => Err(Reason::NoAcknowledgement),
        (Some(began), Some(ended)) if ended < began => Err(Reason::NegativeDuration),
        (Some(began), Some(ended)) => Ok(ended - began),
    }
}

/// Puts the shortest first: a radix sort, because there may be a million of them and core's sort is three kilobytes
/// of component.
fn shortest_first(durations: &mut Vec<Duration>) {
    const DIGIT: u32 = 11;
    let mut next = durations.clone();
    for shift in (0..i64::BITS).step_by(DIGIT as usize) {
        let digit = |duration: &Duration| (duration.micros >> shift) as usize & ((1 << DIGIT) - 1);
        // First how many have each digit, then where those of each digit start.
        let mut starts = vec![0u32; 1 << DIGIT];
        for duration in &*durations {
            if let Some(count) = starts.get_mut(digit(duration)) {
                *count += 1;
            }
        }
        // Of the longer digits most are all zero.
        if starts.first().is_some_and(|zeros| *zeros as usize == durations.len()) {
            continue;
        }
        let mut total = 0;
        for start in &mut starts {
            (*start, total) = (total, total + *start);
        }
        for duration in &*durations {
            if let Some(start) = starts.get_mut(digit(duration)) {
                if let Some(place) = next.get_mut(*start as usize) {
                    *place = *duration;
                }
                *start += 1;
            }
        }
        core::mem::swap(durations, &mut next);
    }
}

enum Verdict {
    Measured { micros: i64, bucket: u16 },
    Excluded(Reason),
}

/// A service's name as it is compared: lower case, outer spaces gone, runs of spaces, hyphens and underscores one hyphen.
/// The directory of the contract compares names so.
pub fn normalised(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for word in
        name.split(|c: char| c.is_whitespace() || c == '-' || c == '_').filter(|word| !word.is_empty())
    {
        if !out.is_empty() {
            out.push('-');
        }
        out.extend(word.chars().flat_map(char::to_lowercase));
    }
    out
}

/// Names across pages, each with one index.
#[derive(Default)]
struct Names {
    /// Each as it is compared, and as it is shown.
    names: Vec<(String, String)>,
    /// Indexes into `names`, in the order of what is compared.
    sorted: Vec<u32>,
}

impl Names {
    fn index(&mut self, name: &str) -> u32 {
        self.index_as(name, name)
    }

    /// Of several spellings the first in the order of bytes is shown, so that it does not matter which came first.
    fn index_as(&mut self, folded: &str, spelling: &str) -> u32 {
        let names = &self.names;
        let place = self
            .sorted
            .binary_search_by(|at| names.get(*at as usize).map_or("", |(name, _)| name.as_str()).cmp(folded));
        match place {
            Ok(at) => {
                let index = self.sorted.get(at).copied().unwrap_or_default();
                if let Some((_, shown)) = self.names.get_mut(index as usize)
                    && spelling < shown.as_str()
                {
                    spelling.clone_into(shown);
                }
                index
            }
            Err(at) => {
                let index = self.names.len() as u32;
                self.names.push((folded.to_owned(), spelling.to_owned()));
                self.sorted.insert(at, index);
                index
            }
        }
    }

    /// Each index and its name, by name.
    fn in_order(&self) -> impl Iterator<Item = (usize, &str)> {
        let name = |at: &u32| Some((*at as usize, self.names.get(*at as usize)?.1.as_str()));
        self.sorted.iter().filter_map(name)
    }
}

/// Percentiles, in hundredths.
const QUANTILES: [u64; 4] = [50, 75, 90, 95];

/// The figures of one slice, filled by two passes over the sorted durations.
#[derive(Clone, Default)]
struct Tally {
    count: u64,
    sum: i128,
    min: i64,
    max: i64,
    /// Of the second pass: how many went before.
    rank: u64,
    /// The neighbours that each of [`QUANTILES`] lies between.
    neighbours: [(i64, i64); QUANTILES.len()],
}

impl Tally {
    fn statistics(&self) -> Statistics {
        if self.count == 0 {
            return Statistics { count: 0, durations: None };
        }
        let quantile = |at: usize| {
            let (low, high) = self.neighbours.get(at).copied().unwrap_or_default();
            let (_, hundredths) = position(self.count, QUANTILES.get(at).copied().unwrap_or_default());
            seconds(low) + seconds(high - low) * hundredths as f64 / 100.0
        };
        let (mean, median) = (self.sum as f64 / self.count as f64 / 1e6, quantile(0));
        let durations = Durations {
            mean,
            median,
            p75: quantile(1),
            p90: quantile(2),
            p95: quantile(3),
            min: seconds(self.min),
            max: seconds(self.max),
            tier: Tier::of(median),
            mean_tier: Tier::of(mean),
        };
        Statistics { count: self.count, durations: Some(durations) }
    }
}

struct Tallies(Vec<Tally>);

impl Tallies {
    fn new(count: usize) -> Tallies {
        Tallies(vec![Tally::default(); count])
    }

    fn count(&mut self, at: usize, micros: i64) {
        if let Some(tally) = self.0.get_mut(at) {
            if tally.count == 0 {
                tally.min = micros;
            }
            tally.max = micros;
            tally.count += 1;
            tally.sum += i128::from(micros);
        }
    }

    fn pick(&mut self, at: usize, micros: i64) {
        if let Some(tally) = self.0.get_mut(at) {
            for (quantile, (low, high)) in QUANTILES.into_iter().zip(&mut tally.neighbours) {
                let (index, _) = position(tally.count, quantile);
                if tally.rank == index {
                    (*low, *high) = (micros, micros);
                } else if tally.rank == index + 1 {
                    *high = micros;
                }
            }
            tally.rank += 1;
        }
    }

    /// The slices that have anything to show, in the order of the labels given, each with its index here.
    fn slices<'a>(&self, labels: impl Iterator<Item = (usize, &'a str)>) -> Vec<Slice> {
        let mut slices = Vec::new();
        for (at, label) in labels {
            if let Some(tally) = self.0.get(at).filter(|tally| tally.count > 0) {
                slices.push(Slice { label: label.to_owned(), statistics: tally.statistics() });
            }
        }
        slices
    }
}

/// PERCENTILE_CONT: (n − 1)·q, as the lower index and hundredths of the way to the next.
fn position(count: u64, quantile: u64) -> (u64, u64) {
    let position = (count - 1) * quantile;
    (position / 100, position % 100)
}

fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}
