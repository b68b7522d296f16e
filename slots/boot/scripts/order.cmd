# The boot script of the dialect Order, in U-Boot's own environment, which has to
# be redundant. It reads what RAUC's contrib/uboot.sh reads, but counts a slot
# only if it has less than three tries, so that a healthy boot writes nothing.
#
# Given by the environment:
#   start_slot   starts slot ${slot}, A or B; returns if that cannot be loaded
#   recovery     starts the recovery; returns if there is none
test -n "${BOOT_ORDER}" || setenv BOOT_ORDER "A B"
test -n "${BOOT_A_LEFT}" || setenv BOOT_A_LEFT 3
test -n "${BOOT_B_LEFT}" || setenv BOOT_B_LEFT 3
# A variable of that name in the environment would hide the loop's.
setenv BOOT_SLOT
for BOOT_SLOT in ${BOOT_ORDER}; do
  setenv slot_left 0
  if test "${BOOT_SLOT}" = A; then setenv slot_left ${BOOT_A_LEFT}; fi
  if test "${BOOT_SLOT}" = B; then setenv slot_left ${BOOT_B_LEFT}; fi
  if itest 0x${slot_left} -gt 0; then
    # The try is spent before the jump: a kernel that hangs has used it up too.
    if itest 0x${slot_left} -lt 3; then
      setexpr slot_left ${slot_left} - 1
      setenv BOOT_${BOOT_SLOT}_LEFT ${slot_left}
      setenv slot_left
      saveenv
    fi
    setenv slot ${BOOT_SLOT}
    run start_slot
    setenv slot
  fi
done
# RAUC's script gives both slots three tries again here and resets, for ever.
run recovery
echo "no slot can be started, and there is no recovery"
