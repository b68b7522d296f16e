# The boot script of the dialect Trial with the format Sequence: two copies of
# 4096 bytes, at sectors 0 and 8 of the partition "ubstate". All numbers are
# hexadecimal. Make a script image of it:
#   mkimage -A arm64 -T script -d trial.cmd boot.scr
#
# Given by the environment:
#   devtype, devnum   where the partition is, such as virtio 0 or mmc 1
#   loadaddr          12 KiB of free memory, with 0x before it
#   start_slot        starts slot ${slot}, A or B; returns if that cannot be loaded
#   recovery          starts the recovery; returns if there is none
#
# It writes while a trial lasts, and never otherwise.
setenv st_a ${loadaddr}
setexpr st_b ${loadaddr} + 1000
setexpr st_w ${loadaddr} + 2000
setenv seq0 0
setenv seq1 0
setenv st_lba0
if part start ${devtype} ${devnum} ubstate st_lba0; then
  setexpr st_lba1 ${st_lba0} + 8
  ${devtype} read ${st_a} ${st_lba0} 8
  ${devtype} read ${st_b} ${st_lba1} 8
  if env import -c ${st_a} 0x1000 st_seq; then setenv seq0 ${st_seq}; fi
  if env import -c ${st_b} 0x1000 st_seq; then setenv seq1 ${st_seq}; fi
fi
setenv st_good A
setenv st_try
setenv st_tries 0
setenv st_failed
if itest 0x${seq1} -gt 0x${seq0}; then
  env import -c ${st_b} 0x1000 st_seq st_good st_try st_tries st_failed
  setenv st_next ${st_lba0}
elif itest 0x${seq0} -gt 0; then
  env import -c ${st_a} 0x1000 st_seq st_good st_try st_tries st_failed
  setenv st_next ${st_lba1}
fi
test -n "${st_tries}" || setenv st_tries 0

# The try is spent before the jump: a kernel that hangs has used it up too.
setenv slot ${st_good}
if test -n "${st_try}"; then
  if itest 0x${st_tries} -gt 0; then
    setexpr st_tries ${st_tries} - 1
    setenv slot ${st_try}
  else
    setenv st_failed ${st_try}
    setenv st_try
  fi
  setexpr st_seq ${st_seq} + 1
  env export -c -s 0x1000 ${st_w} st_seq st_good st_try st_tries st_failed
  ${devtype} write ${st_w} ${st_next} 8
fi
run start_slot

# It could not be loaded. The other one is tried in the same boot, so that two
# bad slots end in the recovery and do not reset each other for ever.
if test "${slot}" = "${st_good}"; then
  if test "${st_good}" = A; then setenv slot B; else setenv slot A; fi
else
  setenv slot ${st_good}
fi
if test "${slot}" != "${st_failed}" && test "${slot}" != "${st_try}"; then run start_slot; fi
run recovery
echo "no slot can be started, and there is no recovery"
