SUMMARY = "RTMP in, a ring on flash, signed HLS out: a camera gateway"
DESCRIPTION = "A daemon that takes H.264 and AAC over RTMP, keeps it in a ring of fixed size on flash, and serves it as HLS."
HOMEPAGE = "https://github.com/sluicegate/sluicegate"
BUGTRACKER = "https://github.com/sluicegate/sluicegate/issues"
SECTION = "multimedia"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE-MIT;md5=f70840c050aba7f808bad89526071b7a \
                    file://LICENSE-APACHE;md5=1836efb2eb779966696f473ee8540542"

# Another configuration: a bbappend that puts its own sluicegate.toml first in FILESEXTRAPATHS.
SRC_URI = "git://github.com/sluicegate/sluicegate.git;protocol=https;branch=main;destsuffix=${BP} \
           file://sluicegate.toml"
SRCREV = "206e3e07cb8e45471eb115630fe532e41a1446d7"
CVE_PRODUCT = "sluicegate"

require ${BPN}-crates.inc

inherit cargo cargo-update-recipe-crates systemd useradd

# Releases before styhead have no such folder, and unpack into WORKDIR.
UNPACKDIR ??= "${WORKDIR}"

# The demonstration and its RTMP client stay out of a gateway.
CARGO_BUILD_FLAGS:append = " --no-default-features --features pages"

SYSTEMD_SERVICE:${PN} = "sluicegate.service sluicegate-http.socket sluicegate-rtmp.socket"

USERADD_PACKAGES = "${PN}"
USERADD_PARAM:${PN} = "--system --user-group --no-create-home --home-dir ${localstatedir}/lib/sluicegate --shell /sbin/nologin sluicegate"

do_install:append() {
    install -d ${D}${systemd_system_unitdir} ${D}${sysconfdir}/sluicegate ${D}${docdir}/sluicegate
    # Keys are for root and the service alone.
    chown root:sluicegate ${D}${sysconfdir}/sluicegate
    chmod 0750 ${D}${sysconfdir}/sluicegate
    install -m 0644 ${S}/systemd/*.service ${S}/systemd/*.socket ${D}${systemd_system_unitdir}
    install -m 0644 ${UNPACKDIR}/sluicegate.toml ${D}${sysconfdir}/sluicegate/sluicegate.toml
    install -m 0644 ${S}/board/sluicegate.example.toml ${D}${docdir}/sluicegate/sluicegate.example.toml
}

FILES:${PN} += "${systemd_system_unitdir}/sluicegate-key.service"
CONFFILES:${PN} += "${sysconfdir}/sluicegate/sluicegate.toml"

# A daemon for the target alone.
BBCLASSEXTEND = ""
