//! Connections, signals and the clock's tick around the [`Engine`]: the one thread that all connections share.

use std::{net::SocketAddr, path::PathBuf, rc::Rc, time::Duration};

use tokio::{
    net::TcpListener,
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    task::{JoinHandle, LocalSet, spawn_blocking, spawn_local},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    limits::{ACCEPT_PAUSE_MS, SHUTDOWN_MS_MAX, TICK_MS},
    shell::{
        engine::Engine,
        files::Whole,
        http_conn,
        listen::{self, Protocol},
        notify::Notify,
        peer_log::Who,
        rtmp_conn,
    },
};

/// What runs beside the listeners.
pub(crate) enum Companion {
    /// Nothing: the configuration came from this file, and SIGHUP reads it again.
    File(PathBuf),
    /// The demonstration's camera.
    #[cfg(feature = "demo")]
    Demo(super::demo::Camera),
}

/// Runs the daemon until it is told to stop.
pub(crate) fn run(whole: Whole, companion: Companion) -> Result<(), String> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|error| format!("the engine cannot start: {error}"))?;
    let result = LocalSet::new().block_on(&runtime, serve(whole, companion));
    // Not dropped: that would wait for the flash thread after all.
    runtime.shutdown_background();
    result
}

/// Listens, and goes on until it is told to stop.
///
/// Not cancel-safe: the last segments are sealed, and their flash waited for, on the way out.
async fn serve(whole: Whole, companion: Companion) -> Result<(), String> {
    let listeners = listen::open(&whole.config.listen)?;
    let (engine, events) = Engine::start(whole)?;
    for (listener, protocol) in listeners {
        spawn_local(accept(listener, protocol, Rc::clone(&engine)));
    }
    spawn_local(Rc::clone(&engine).listen(events));
    let notify = Notify::open();
    notify.say("READY=1");
    let (file, camera): (_, Option<JoinHandle<()>>) = match companion {
        Companion::File(file) => (Some(file), None),
        #[cfg(feature = "demo")]
        Companion::Demo(camera) => (None, Some(spawn_local(camera.run()))),
    };
    let result = attend(&engine, &notify, file).await;
    // First, or it would complain of being cut off.
    if let Some(camera) = camera {
        camera.abort();
    }
    notify.say("STOPPING=1");
    if let Some(flash) = engine.stop() {
        // Seals and syncs are on their way; a card that hangs must not keep the box from shutting down.
        let stopped =
            timeout(Duration::from_millis(SHUTDOWN_MS_MAX), spawn_blocking(|| flash.stop())).await;
        stopped
            .map_err(|_| {
                String::from("the flash did not take the last segments in time: they are lost")
            })?
            .ok();
    }
    result
}

/// Keeps time and watches for signals until one says stop.
///
/// Cancel-safe: a tick and a reload are done whole, between two waits.
async fn attend(engine: &Rc<Engine>, notify: &Notify, file: Option<PathBuf>) -> Result<(), String> {
    let on = |kind| signal(kind).map_err(|error| format!("signals cannot be watched for: {error}"));
    let mut terminate = on(SignalKind::terminate())?;
    let mut interrupt = on(SignalKind::interrupt())?;
    let mut hang_up = on(SignalKind::hangup())?;
    let mut tick = interval(Duration::from_millis(TICK_MS));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watchdog = interval(notify.watchdog.unwrap_or(Duration::from_secs(3600)));
    watchdog.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = tick.tick() => engine.tick(),
            _ = watchdog.tick() => notify.say("WATCHDOG=1"),
            _ = hang_up.recv() => {
                if let Some(file) = &file {
                    notify.say("RELOADING=1");
                    engine.reload(file);
                    notify.say("READY=1");
                }
            }
        }
    }
}

/// Takes connections for as long as the daemon runs.
///
/// Cancel-safe: one that was accepted is on its own before the next wait.
async fn accept(listener: TcpListener, protocol: Protocol, engine: Rc<Engine>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let engine = Rc::clone(&engine);
                let _ = stream.set_nodelay(true);
                // A socket for both families says `::ffff:192.168.1.9`; people and OSS's RemoteAddr say `192.168.1.9`.
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                // Each of its own type, so that one is not as large as the other.
                match protocol {
                    Protocol::Http => spawn_local(http_conn::serve(stream, peer, engine)),
                    Protocol::Rtmp => spawn_local(rtmp_conn::serve(stream, peer, engine, &[])),
                };
            }
            Err(error) => {
                // Out of file descriptors, as a rule: they come back when a connection ends, not by asking faster.
                if engine.peer_log.takes(Who::Stranger, engine.now().mono) {
                    tracing::warn!("a connection could not be accepted: {error}");
                }
                sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
}
