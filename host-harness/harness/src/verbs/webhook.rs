//! `webhook send` and `webhook verify`.

use anyhow::{Context, Result, bail};
use chrono::Utc;
use koalr_host::contract::{Delivery, Header};
use koalr_host::{HostError, ReceiveError};
use serde::Serialize;

use super::{print_json, read};
use crate::cli::{WebhookSend, WebhookVerify};
use crate::out::say;
use crate::{open, secrets, server, view};

#[derive(Serialize)]
struct Sent {
    id: String,
    status: u16,
}

pub(crate) async fn send(options: WebhookSend) -> Result<()> {
    let body = read(&options.file)?;
    let secret = secrets::from_variable(&options.secret_env)?;
    let now = Utc::now();
    let new = || koalr_simulator::message_id(now, fastrand::u128(..));
    let id = options.id.unwrap_or_else(new);
    let signature = koalr_simulator::sign(secret.expose(), &id, now.timestamp(), &body)?;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let request = client
        .post(&options.url)
        .header("content-type", "application/json")
        .header("webhook-id", &id)
        .header("webhook-timestamp", now.timestamp().to_string())
        .header("webhook-signature", signature)
        .body(body);
    let sent = request.send().await.map_err(reqwest::Error::without_url);
    let response = sent.with_context(|| format!("{} cannot be reached", options.url))?;
    let status = response.status();
    if options.json.json {
        print_json(&Sent { id: id.clone(), status: status.as_u16() })?;
    } else {
        say!("{id}: {status}")?;
    }
    match status.as_u16() {
        200..300 => Ok(()),
        401 => bail!(
            "the receiver refused it: it has stored another secret, its clock is five minutes off, or the file is no \
             JSON with an `event_type`; its log says which"
        ),
        404 => bail!("the receiver does not know this address: is the organisation connected there?"),
        413 => bail!("the receiver refused the body as too large"),
        other => bail!("the receiver answered {other}"),
    }
}

#[derive(Serialize)]
struct Verified<'a> {
    genuine: bool,
    reason: Option<&'static str>,
    id: Option<&'a str>,
    sent_at: Option<String>,
    event_type: Option<&'a str>,
    incident_id: Option<&'a str>,
}

pub(crate) async fn verify(options: WebhookVerify) -> Result<()> {
    let mut headers = Vec::new();
    for header in &options.header {
        let (name, value) =
            header.split_once(':').with_context(|| format!("`{header}` is not `name: value`"))?;
        headers.push(Header { name: name.trim().into(), value: value.trim().as_bytes().to_vec() });
    }
    let delivery = Delivery { headers, body: read(&options.file)? };
    let host = open::host(&options.target.database).await?;
    let json = options.target.json.json;
    match host.verify(&options.target.org, &delivery).await {
        Ok(verified) if json => print_json(&Verified {
            genuine: true,
            reason: None,
            id: Some(&verified.id),
            sent_at: Some(view::instant(verified.sent_at)),
            event_type: Some(&verified.event_type),
            incident_id: verified.incident_id.as_deref(),
        }),
        Ok(verified) => {
            let at = view::instant(verified.sent_at);
            let event = view::printable(&verified.event_type);
            say!("genuine: {event}, message {}, signed at {at}", view::printable(&verified.id))?;
            Ok(())
        }
        Err(ReceiveError::Rejected(rejection)) => {
            let reason = server::reason(rejection);
            if json {
                let (id, sent_at, event_type, incident_id) = (None, None, None, None);
                print_json(&Verified {
                    genuine: false,
                    reason: Some(reason),
                    id,
                    sent_at,
                    event_type,
                    incident_id,
                })?;
            }
            bail!("refused: {reason}")
        }
        Err(ReceiveError::UnknownOrganisation(org)) => Err(HostError::UnknownOrganisation(org).into()),
        Err(error) => Err(error.into()),
    }
}
