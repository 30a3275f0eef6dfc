//! Between the contract's types and the plugin's. One `From` each way and nothing else.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::imports::{directory, log, storage, types};
use super::wit;
use crate::model::{self, Mode, Phase, Priority};
use crate::mttr;
use crate::port;
use crate::severity;
use crate::sync::{connect, event};
use crate::webhook::signature;

macro_rules! mirror {
    ($left:path, $right:path: $($variant:ident),+) => {
        impl From<$left> for $right {
            fn from(value: $left) -> Self {
                use $left as Left;
                use $right as Right;
                match value {
                    $(Left::$variant => Right::$variant,)+
                }
            }
        }
    };
}

mirror!(types::Priority, Priority: P1, P2, P3, P4);
mirror!(Priority, types::Priority: P1, P2, P3, P4);
mirror!(types::Phase, Phase: Triage, Active, Paused, Resolved, Closed, Declined, Canceled, Merged, Unknown);
mirror!(Phase, types::Phase: Triage, Active, Paused, Resolved, Closed, Declined, Canceled, Merged, Unknown);
mirror!(types::Mode, Mode: Standard, Retrospective, Test, Tutorial, Unknown);
mirror!(Mode, types::Mode: Standard, Retrospective, Test, Tutorial, Unknown);
mirror!(port::Level, log::Level: Debug, Info, Warn, Error);
mirror!(wit::ClockStart, mttr::ClockStart: Created, Started, Acknowledged);
mirror!(mttr::Tier, wit::Tier: Elite, High, Medium, Low);
mirror!(signature::Rejection, wit::Rejection: MissingHeader, MalformedHeader, BadSignature, TooOld, TooNew, NoSecret, MalformedBody);

impl From<types::IncidentKey> for model::IncidentKey {
    fn from(key: types::IncidentKey) -> Self {
        Self { source: key.source, id: key.id }
    }
}

impl From<model::IncidentKey> for types::IncidentKey {
    fn from(key: model::IncidentKey) -> Self {
        Self { source: key.source, id: key.id }
    }
}

impl From<types::Severity> for model::Severity {
    fn from(severity: types::Severity) -> Self {
        Self { id: severity.id, name: severity.name, rank: severity.rank }
    }
}

impl From<model::Severity> for types::Severity {
    fn from(severity: model::Severity) -> Self {
        Self { id: severity.id, name: severity.name, rank: severity.rank }
    }
}

impl From<types::DerivedTime> for model::DerivedTime {
    fn from(time: types::DerivedTime) -> Self {
        Self { at: time.at, rule: Cow::Owned(time.rule) }
    }
}

impl From<model::DerivedTime> for types::DerivedTime {
    fn from(time: model::DerivedTime) -> Self {
        Self { at: time.at, rule: time.rule.into_owned() }
    }
}

impl From<types::Incident> for model::Incident {
    fn from(i: types::Incident) -> Self {
        let responder = |r: types::Responder| model::Responder {
            id: r.id,
            email: r.email,
            name: r.name,
            role: r.role,
            user_id: r.user_id,
        };
        let service = |s: types::AffectedService| model::AffectedService {
            name: s.name,
            external_id: s.external_id,
            service_id: s.service_id,
        };
        Self {
            key: i.key.into(),
            reference: i.reference,
            title: i.title,
            permalink: i.permalink,
            severity: i.severity.map(Into::into),
            priority: i.priority.map(Into::into),
            priority_rule: Cow::Owned(i.priority_rule),
            status: i.status,
            phase: i.phase.into(),
            mode: i.mode.into(),
            private: i.private,
            created_at: i.created_at,
            started_at: i.started_at.map(Into::into),
            acknowledged_at: i.acknowledged_at.map(Into::into),
            resolved_at: i.resolved_at.map(Into::into),
            merged_into: i.merged_into.map(Into::into),
            responders: i.responders.into_iter().map(responder).collect(),
            services: i.services.into_iter().map(service).collect(),
            updated_at: i.updated_at,
        }
    }
}

impl From<model::Incident> for types::Incident {
    fn from(i: model::Incident) -> Self {
        let responder = |r: model::Responder| types::Responder {
            id: r.id,
            email: r.email,
            name: r.name,
            role: r.role,
            user_id: r.user_id,
        };
        let service = |s: model::AffectedService| types::AffectedService {
            name: s.name,
            external_id: s.external_id,
            service_id: s.service_id,
        };
        Self {
            key: i.key.into(),
            reference: i.reference,
            title: i.title,
            permalink: i.permalink,
            severity: i.severity.map(Into::into),
            priority: i.priority.map(Into::into),
            priority_rule: i.priority_rule.into_owned(),
            status: i.status,
            phase: i.phase.into(),
            mode: i.mode.into(),
            private: i.private,
            created_at: i.created_at,
            started_at: i.started_at.map(Into::into),
            acknowledged_at: i.acknowledged_at.map(Into::into),
            resolved_at: i.resolved_at.map(Into::into),
            merged_into: i.merged_into.map(Into::into),
            responders: i.responders.into_iter().map(responder).collect(),
            services: i.services.into_iter().map(service).collect(),
            updated_at: i.updated_at,
        }
    }
}

impl From<model::TimelineEvent> for types::TimelineEvent {
    fn from(e: model::TimelineEvent) -> Self {
        Self {
            incident: e.incident.into(),
            id: e.id,
            at: e.at,
            kind: e.kind.into_owned(),
            title: e.title,
            detail: e.detail,
            actor: e.actor,
        }
    }
}

impl From<storage::StoredIncident> for port::Stored {
    fn from(stored: storage::StoredIncident) -> Self {
        Self { incident: stored.incident.into(), facts: stored.facts, revision: stored.revision }
    }
}

impl From<port::Change> for storage::Change {
    fn from(change: port::Change) -> Self {
        match change {
            port::Change::PutIncident { incident, facts, revisit, base } => {
                storage::Change::PutIncident(storage::IncidentWrite {
                    incident: incident.into(),
                    facts,
                    revisit,
                    base,
                })
            }
            port::Change::PutTimelineEvent(event) => storage::Change::PutTimelineEvent(event.into()),
            port::Change::ReplaceTimeline(incident, events) => {
                let events = events.into_iter().map(Into::into).collect();
                storage::Change::ReplaceTimeline(storage::Timeline { incident: incident.into(), events })
            }
            port::Change::SetState(key, value) => storage::Change::SetState((key.into(), value)),
        }
    }
}

impl From<storage::Applied> for port::Applied {
    fn from(a: storage::Applied) -> Self {
        Self {
            created: a.created,
            updated: a.updated,
            unchanged: a.unchanged,
            stale: a.stale,
            events: a.events,
        }
    }
}

impl From<storage::StorageError> for port::StorageError {
    fn from(error: storage::StorageError) -> Self {
        match error {
            storage::StorageError::Unavailable(text) => Self::Unavailable(text),
            storage::StorageError::QuotaExceeded(text) => Self::QuotaExceeded(text),
            storage::StorageError::Invalid(text) => Self::Invalid(text),
            storage::StorageError::Conflict => Self::Conflict,
        }
    }
}

impl From<port::ServiceName> for directory::ServiceName {
    fn from(name: port::ServiceName) -> Self {
        Self { name: name.name, external_id: name.external_id, aliases: name.aliases }
    }
}

impl From<storage::SamplePage> for model::SamplePage {
    fn from(page: storage::SamplePage) -> Self {
        let sample = |s: storage::Sample| model::Sample {
            created_at: s.created_at,
            started_at: s.started_at,
            acknowledged_at: s.acknowledged_at,
            resolved_at: s.resolved_at,
            priority: s.priority.map(Into::into),
            phase: s.phase.into(),
            mode: s.mode.into(),
            private: s.private,
            source: s.source,
            services: s.services,
            duplicate: s.duplicate,
        };
        Self {
            samples: page.samples.into_iter().map(sample).collect(),
            sources: page.sources,
            services: page.services,
            next: page.next,
        }
    }
}

impl From<wit::Settings> for model::Settings {
    fn from(s: wit::Settings) -> Self {
        let rule = |o: wit::SeverityOverride| model::SeverityOverride {
            severity: o.severity,
            priority: o.priority.into(),
        };
        Self {
            severity_overrides: s.severity_overrides.into_iter().map(rule).collect(),
            service_fields: s.service_fields,
            include_private: s.include_private,
            history_days: s.history_days,
        }
    }
}

impl From<connect::Connection> for wit::Connection {
    fn from(c: connect::Connection) -> Self {
        Self {
            account: c.account,
            account_url: c.account_url,
            key_name: c.key_name,
            roles: c.roles,
            warnings: c.warnings,
        }
    }
}

impl From<model::Error> for wit::Error {
    fn from(error: model::Error) -> Self {
        match error {
            model::Error::Unauthorized(text) => Self::Unauthorized(text),
            model::Error::Forbidden(text) => Self::Forbidden(text),
            model::Error::RateLimited(ms) => Self::RateLimited(ms),
            model::Error::Unavailable(text) => Self::Unavailable(text),
            model::Error::Malformed(text) => Self::Malformed(text),
            model::Error::Invalid(text) => Self::Invalid(text),
            model::Error::Storage(text) => Self::Storage(text),
        }
    }
}

impl From<event::Outcome> for wit::Outcome {
    fn from(outcome: event::Outcome) -> Self {
        match outcome {
            event::Outcome::Created => Self::Created,
            event::Outcome::Updated => Self::Updated,
            event::Outcome::Resolved => Self::Resolved,
            event::Outcome::Unchanged => Self::Unchanged,
            event::Outcome::Stale => Self::Stale,
            event::Outcome::Ignored(why) => Self::Ignored(why),
        }
    }
}

impl From<model::Step> for wit::Step {
    fn from(s: model::Step) -> Self {
        Self {
            fetched: s.fetched,
            created: s.created,
            updated: s.updated,
            stale: s.stale,
            requests: s.requests,
            done: s.done,
            total: s.total,
            more: s.more,
            wait_ms: s.wait_ms,
        }
    }
}

impl From<severity::Mapping> for wit::Mapping {
    fn from(mapping: severity::Mapping) -> Self {
        Self { priority: mapping.priority.map(Into::into), rule: mapping.rule.into() }
    }
}

impl From<wit::MttrQuery> for mttr::Query {
    fn from(q: wit::MttrQuery) -> Self {
        Self {
            edges: q.edges,
            start: q.start.into(),
            priorities: q.priorities.into_iter().map(Into::into).collect(),
            services: q.services,
            sources: q.sources,
            include_private: q.include_private,
        }
    }
}

impl From<mttr::Statistics> for wit::Statistics {
    fn from(s: mttr::Statistics) -> Self {
        Self {
            count: s.count,
            mean: s.mean,
            median: s.median,
            p75: s.p75,
            p90: s.p90,
            p95: s.p95,
            min: s.min,
            max: s.max,
        }
    }
}

impl From<mttr::Slice> for wit::Slice {
    fn from(s: mttr::Slice) -> Self {
        Self {
            label: s.label,
            statistics: s.statistics.into(),
            tier: s.tier.map(Into::into),
            mean_tier: s.mean_tier.map(Into::into),
        }
    }
}

impl From<mttr::Report> for wit::MttrReport {
    fn from(r: mttr::Report) -> Self {
        let bucket = |b: mttr::Bucket| wit::Bucket {
            since: b.since,
            until: b.until,
            statistics: b.statistics.into(),
            tier: b.tier.map(Into::into),
            by_source: b.by_source,
        };
        let slices = |slices: Vec<mttr::Slice>| slices.into_iter().map(Into::into).collect();
        let exclusion = |e: mttr::Exclusion| wit::Exclusion { reason: e.reason.into(), count: e.count };
        Self {
            overall: r.overall.into(),
            trend: r.trend.into_iter().map(bucket).collect(),
            by_priority: slices(r.by_priority),
            by_service: slices(r.by_service),
            by_source: slices(r.by_source),
            excluded: r.excluded.into_iter().map(exclusion).collect(),
            population: r.population,
            open: r.open,
            oldest_open: r.oldest_open,
        }
    }
}
