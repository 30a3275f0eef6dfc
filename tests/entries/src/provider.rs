//! Whole calls of the plugin against a provider that answers whatever the input says.

use incidentio::model::{
    Applied, Change, ClockEnd, ClockStart, DerivedTime, Error, Incident, IncidentKey, KeyPage, Level,
    MttrQuery, OpsgenieAccount, OpsgenieRegion, RevisitPage, Sample, SamplePage, ServiceName, Settings, Step,
    StorageError, StoredIncident, Timestamp,
};
use incidentio::port::{Answer, Failure, HEADERS, Request, Response, World};
use incidentio::sync::backfill::{Window, backfill};
use incidentio::sync::{connect, derive, event, poll, rederive};
use incidentio::{mttr, opsgenie};
use koalr_codec::{DAY, SECOND};

#[allow(dead_code, clippy::unwrap_used, reason = "shared with tests that read what was stored")]
#[path = "../../it/convergence/memory.rs"]
mod memory;

/// 2026-11-23.
const NOW: Timestamp = 1_795_392_000 * SECOND;
/// More requests get no answer, so that a provider whose lists never end is left.
const MOST_REQUESTS: usize = 60;
/// Steps of an import or a poll.
const STEPS: usize = 4;

/// A host in memory, and a provider that gives the answers of the input in turn, and then again.
///
/// Answers are separated by zero bytes. One may begin with a line of `!`, a status and the headers that are read,
/// separated by `|`: `!429|7||0||`.
struct Stage<'a> {
    memory: memory::Memory,
    answers: Vec<&'a [u8]>,
    requests: usize,
    now: Timestamp,
    /// What every part of the plugin's state holds that it has not written itself.
    state: Option<&'a [u8]>,
}

impl<'a> Stage<'a> {
    fn new(data: &'a [u8]) -> Stage<'a> {
        let answers = data.split(|byte| *byte == 0).collect();
        Stage { memory: memory::Memory::default(), answers, requests: 0, now: NOW, state: None }
    }

    fn answer(&mut self) -> Answer {
        let at = self.requests.checked_rem(self.answers.len()).unwrap_or(0);
        self.requests += 1;
        if self.requests > MOST_REQUESTS {
            return Err(Failure::Broken("the provider is gone".into()));
        }
        let answer = self.answers.get(at).copied().unwrap_or_default();
        let mut response = Response { status: 200, headers: Default::default(), body: answer.to_vec() };
        if let Some(rest) = answer.strip_prefix(b"!") {
            let mut lines = rest.splitn(2, |byte| *byte == b'\n');
            let head = String::from_utf8_lossy(lines.next().unwrap_or_default());
            let mut words = head.split('|');
            response.status = words.next().and_then(|status| status.parse().ok()).unwrap_or(500);
            for place in &mut response.headers {
                *place = words.next().filter(|text| !text.is_empty()).map(String::from);
            }
            response.body = lines.next().unwrap_or_default().to_vec();
        }
        Ok(response)
    }
}

// The line above has as many places as headers are read.
const _: () = assert!(HEADERS.len() == 7);

impl World for Stage<'_> {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn begin(&mut self, _: &Request) {}

    fn fetch(&mut self, requests: &[Request]) -> Vec<Answer> {
        requests.iter().map(|_| self.answer()).collect()
    }

    fn commit(&mut self, changes: &[Change]) -> Result<Applied, StorageError> {
        self.memory.commit(changes)
    }

    fn incidents(&mut self, keys: &[IncidentKey]) -> Result<Vec<Option<StoredIncident>>, StorageError> {
        Ok(keys.iter().map(|key| self.memory.incident(&key.id).cloned()).collect())
    }

    fn list(&mut self, _: &str, after: Option<&str>, limit: u32) -> Result<KeyPage, StorageError> {
        Ok(self.memory.list(after, limit, false))
    }

    fn state(&mut self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.memory.state(key).or_else(|| self.state.map(<[u8]>::to_vec)))
    }

    fn list_open(&mut self, _: &str, after: Option<&str>, limit: u32) -> Result<KeyPage, StorageError> {
        Ok(self.memory.list(after, limit, true))
    }

    fn to_revisit(&mut self, _: &str, limit: u32) -> Result<RevisitPage, StorageError> {
        Ok(self.memory.to_revisit(limit))
    }

    fn samples(
        &mut self,
        _: Timestamp,
        _: Timestamp,
        _: Timestamp,
        _: Option<&str>,
    ) -> Result<SamplePage, StorageError> {
        let samples = self.memory.incidents().map(sample).collect();
        Ok(SamplePage { samples, sources: vec!["any".into()], services: vec!["any".into()], next: None })
    }

    fn users_by_email(&mut self, emails: &[String]) -> Result<Vec<Option<String>>, StorageError> {
        Ok(emails.iter().map(|email| Some(format!("user:{email}"))).collect())
    }

    fn services_by_name(&mut self, names: &[ServiceName]) -> Result<Vec<Option<String>>, StorageError> {
        Ok(names.iter().map(|service| Some(format!("service:{}", service.name))).collect())
    }

    fn secrets(&mut self, _: &str) -> Vec<String> {
        Vec::new()
    }

    fn log(&mut self, _: Level, _: &str, _: &[(String, String)]) {}
}

fn sample(incident: &Incident) -> Sample {
    let at = |time: &Option<DerivedTime>| time.as_ref().map(|time| time.at);
    Sample {
        created_at: incident.created_at,
        started_at: at(&incident.started_at),
        acknowledged_at: at(&incident.acknowledged_at),
        resolved_at: at(&incident.resolved_at),
        first_resolved_at: at(&incident.first_resolved_at),
        priority: incident.priority,
        phase: incident.phase,
        mode: incident.mode,
        private: incident.private,
        source: 0,
        services: incident.services.iter().map(|_| 0).collect(),
        duplicate: false,
        waits: false,
        not_visible: incident.not_visible,
    }
}

/// Whatever times the provider told, each incident is measured or left out under a reason, by every clock.
fn measured(stage: &mut Stage<'_>) {
    let stored = stage.memory.incidents().count() as u64;
    for start in [ClockStart::Created, ClockStart::Started, ClockStart::Acknowledged] {
        for end in [ClockEnd::Resolved, ClockEnd::FirstResolution, ClockEnd::Acknowledged] {
            let query = MttrQuery {
                edges: vec![0, NOW, Timestamp::MAX],
                start,
                end,
                priorities: Vec::new(),
                services: Vec::new(),
                sources: Vec::new(),
                include_private: true,
            };
            let now = stage.now;
            let report = mttr::compute(&query, now, &mut |since, until, now, after| {
                stage.samples(since, until, now, after)
            });
            match report {
                Ok(report) => {
                    let excluded: u64 = report.excluded.iter().map(|excluded| excluded.count).sum();
                    let counted = report.overall.statistics.count;
                    assert_eq!((report.population, counted + excluded), (stored, stored));
                }
                Err(error) => panic!("what is stored is not measured: {error:?}"),
            }
        }
    }
}

type Call = fn(&mut dyn World) -> Result<Step, Error>;

fn window() -> Window {
    Window { since: NOW - 10_000 * DAY, until: NOW }
}

/// An account is connected, imported and polled, each answer comes as a delivery as well, and records are derived anew.
pub(crate) fn incidentio_answers(data: &[u8]) {
    let mut stage = Stage::new(data);
    let include_private = data.len().is_multiple_of(2);
    let _ = connect::connect(&mut stage, &Settings { include_private, ..Settings::default() }, None);
    let calls: [Call; 2] = [|world| backfill(world, window(), false), poll::poll];
    for call in calls {
        stage.requests = 0;
        for _ in 0..STEPS {
            if !call(&mut stage).is_ok_and(|step| step.more) {
                break;
            }
        }
    }
    for delivery in stage.answers.clone() {
        let _ = event::handle(&mut stage, delivery);
    }
    stage.now += DAY;
    stage.requests = 0;
    let _ = poll::poll(&mut stage);
    let _ = rederive::rederive(&mut stage, &derive::INCIDENTIO, None);
    measured(&mut stage);
}

/// A history is imported from answers, then each answer as a piece of saved records.
pub(crate) fn opsgenie_answers(data: &[u8]) {
    for alerts in [false, true] {
        let mut stage = Stage::new(data);
        let region = if alerts { OpsgenieRegion::Eu } else { OpsgenieRegion::Us };
        let account = OpsgenieAccount { region, alerts, alert_ids: data.len().is_multiple_of(2) };
        for _ in 0..STEPS {
            if !opsgenie::import(&mut stage, account, window(), false).is_ok_and(|step| step.more) {
                break;
            }
        }
        let _ = opsgenie::rederive(&mut stage, None);
        measured(&mut stage);
    }
    let mut stage = Stage::new(data);
    for piece in stage.answers.clone() {
        let _ = opsgenie::piece(&mut stage, piece);
    }
    let _ = opsgenie::rederive(&mut stage, None);
}

/// A piece that the readers of files made, which the component must be able to read.
pub(crate) fn opsgenie_piece(piece: &[u8]) {
    let done = opsgenie::piece(&mut Stage::new(&[]), piece);
    assert!(done.is_ok(), "{done:?}: {}", String::from_utf8_lossy(piece));
}

/// Calls that find these bytes wherever they look for the plugin's state.
pub(crate) fn odd_state(data: &[u8]) {
    let calls: [Call; 3] = [
        |world| backfill(world, window(), false),
        poll::poll,
        |world| {
            let account = OpsgenieAccount { region: OpsgenieRegion::Us, alerts: false, alert_ids: false };
            opsgenie::import(world, account, window(), false)
        },
    ];
    for call in calls {
        let mut stage = Stage {
            state: Some(data),
            ..Stage::new(b"{\"incidents\":[{\"id\":\"1\"}],\"data\":[{\"id\":\"1\"}]}")
        };
        let _ = call(&mut stage);
    }
}
