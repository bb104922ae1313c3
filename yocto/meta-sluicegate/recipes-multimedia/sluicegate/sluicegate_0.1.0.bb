SUMMARY = "RTMP in, a ring on flash, signed HLS out: a camera gateway"
DESCRIPTION = "A daemon that takes H.264 and AAC over RTMP, keeps it in a ring of fixed size on flash, and serves it as HLS."
HOMEPAGE = "https://github.com/sluicegate/sluicegate"
SECTION = "multimedia"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE-MIT;md5=f70840c050aba7f808bad89526071b7a \
                    file://LICENSE-APACHE;md5=1836efb2eb779966696f473ee8540542"

SRC_URI = "git://github.com/sluicegate/sluicegate.git;protocol=https;branch=main"
SRCREV = "e2b163ad9b718e8e76f1b0992c8096537532f723"

require ${BPN}-crates.inc

inherit cargo cargo-update-recipe-crates systemd

S = "${WORKDIR}/git"

# The demonstration and its RTMP client stay out of a gateway.
CARGO_BUILD_FLAGS:append = " --no-default-features --features pages"

SYSTEMD_SERVICE:${PN} = "sluicegate.service"

do_install:append() {
    install -D -m 0644 ${S}/systemd/sluicegate.service ${D}${systemd_system_unitdir}/sluicegate.service
    install -D -m 0640 ${S}/board/sluicegate.example.toml ${D}${sysconfdir}/sluicegate/sluicegate.toml
}

CONFFILES:${PN} += "${sysconfdir}/sluicegate/sluicegate.toml"
